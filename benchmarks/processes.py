"""The processes that benchmarks start, what is asked of them, and what the system says of them."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.interop.environments import KSERVE, TRITONCLIENT
from tests.support import free_port

ROOT = str(Path(__file__).parents[1])
HERE = Path(__file__).parent


def interpreter(name: str) -> str:
    """The Python that has the contender."""
    environments = {"kserve": KSERVE, "tritonclient": TRITONCLIENT}
    return environments[name].program("python") if name in environments else sys.executable


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


class Contender:
    """A client that benchmarks/contenders.py puts to work, once a call."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def do(self, **task: object) -> tuple[float, float]:
        """Seconds a call took, by the wall and of CPU."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "a contender has ended"
        wall, cpu = json.loads(line)
        return wall, cpu


@contextmanager
def contender(name: str, url: str) -> Iterator[Contender]:
    """One of the clients in its own environment."""
    with process(interpreter(name), str(HERE / "contenders.py"), name, url) as popen:
        yield Contender(popen)


class Endpoint:
    """A process that answers HTTP on a port, from its start until it is killed."""

    def __init__(self, *command: str, port: int) -> None:
        self.port = port
        self.started = time.perf_counter()
        quiet = subprocess.DEVNULL
        self._popen = subprocess.Popen(command, cwd=ROOT, stdout=quiet, stderr=quiet)

    @property
    def pid(self) -> int:
        """Its number."""
        return self._popen.pid

    def kill(self) -> None:
        """SIGKILL."""
        self._popen.kill()
        self._popen.wait()

    def seconds_to(self, path: str, status: int | None = None) -> float:
        """From its start to the first answer, or the first of this status."""
        return asyncio.run(seen(self.port, path, status)) - self.started


@contextmanager
def endpoint(*command: str, port: int) -> Iterator[Endpoint]:
    """Starts it, and kills it in the end."""
    running = Endpoint(*command, port=port)
    try:
        yield running
    finally:
        running.kill()


@contextmanager
def plain_poller(url: str, *models: str, period: float = 1) -> Iterator[Endpoint]:
    """What most teams would write."""
    port = free_port()
    script = str(HERE / "plain_poller.py")
    command = (interpreter("kserve"), script, url, str(port), str(period), *models)
    with endpoint(*command, port=port) as running:
        yield running


@contextmanager
def echo_server() -> Iterator[str]:
    """The address of the server that costs everyone the same."""
    with process(sys.executable, "-m", "benchmarks.echo") as popen:
        assert popen.stdout is not None
        yield f"127.0.0.1:{int(popen.stdout.readline())}"


async def get(port: int, path: str) -> int:
    """The status of an answer, on a new connection as the kubelet makes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return int(answer.split(maxsplit=2)[1])


async def seen(port: int, path: str, status: int | None, *, pause: float = 0.001) -> float:
    """When an answer first has this status, or None any, by time.perf_counter()."""
    while True:
        try:
            if await get(port, path) == status or status is None:
                return time.perf_counter()
        except ConnectionRefusedError:
            pass
        await asyncio.sleep(pause)


def memory(pid: int) -> float:
    """Resident set size of a process in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
