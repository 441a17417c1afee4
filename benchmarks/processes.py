"""The processes that benchmarks start, and what the system says of them."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = str(Path(__file__).parents[1])


@contextmanager
def process(*command: str) -> "Iterator[subprocess.Popen[str]]":
    """A process that is told by lines and ends with its standard input."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": ROOT, "PATH": os.environ["PATH"]},
    ) as popen:
        try:
            yield popen
        finally:
            popen.communicate()


@contextmanager
def echo_server() -> Iterator[str]:
    """The address of the server that costs everyone the same."""
    with process(sys.executable, "-m", "benchmarks.echo") as popen:
        assert popen.stdout is not None
        yield f"127.0.0.1:{int(popen.stdout.readline())}"


def memory(pid: int) -> tuple[float, float]:
    """Resident and proportional set size (RSS, PSS) of a process in MiB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    rss, pss = (
        int(re.findall(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)[0]) for name in ("Rss", "Pss")
    )
    return rss / 1024, pss / 1024
