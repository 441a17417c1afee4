"""How much memory does the daemon take, beside a process that only imports the same packages?

Polls three models of the toy server for a while, scraped and probed meanwhile
as in a pod, and reads the resident and the proportional set size (RSS, PSS).

    python -m benchmarks.footprint [SECONDS] [RUNS]
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import table
from benchmarks.processes import memory
from tests.support import running_sidecar
from tests.toy import ToyProcess

IMPORTS = "import grpc.aio, aiohttp.web, prometheus_client, pydantic_settings, yaml, sys"


def of_bare_imports() -> tuple[float, float]:
    """A process that imports what the daemon imports from others, and waits."""
    command = [sys.executable, "-c", f"{IMPORTS}; print(flush=True); sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        figures = memory(process.pid)
        process.communicate()
    return figures


def of_the_daemon(seconds: float) -> tuple[float, float]:
    """The daemon with three models, after so many seconds."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ToyProcess(models={"a": True, "b": True, "c": True}) as toy,
        running_sidecar(
            Path(folder, "log"), f"--server-url={toy.url}", "--models=a,b,c"
        ) as sidecar,
    ):
        sidecar.wait_for("/readyz", 200)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for path in ("/readyz", "/healthz", "/metrics"):
                sidecar.get(path)
            time.sleep(1)
        return memory(sidecar.process.pid)


def main(seconds: float, runs: int) -> None:
    """Prints the figures of so many runs of each."""
    daemon, bare = [], []
    for _ in range(runs):
        daemon.append(of_the_daemon(seconds))
        bare.append(of_bare_imports())
    figures = {}
    for number, name in enumerate(("RSS", "PSS")):
        ours, theirs = [d[number] for d in daemon], [b[number] for b in bare]
        figures[f"daemon, {name} MiB"] = ours
        figures[f"bare imports, {name} MiB"] = theirs
        figures[f"ratio, {name}"] = [a / b for a, b in zip(ours, theirs, strict=True)]
    print(table(figures))


if __name__ == "__main__":
    seconds, runs = (sys.argv[1:] + ["60", "5"][len(sys.argv) - 1 :])[:2]
    main(float(seconds), int(runs))
