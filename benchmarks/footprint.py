"""How soon do daemon and check answer, and how much memory does the daemon take?

Beside a process that only imports the same packages, the plain poller, and
Debian's prometheus-blackbox-exporter where it is installed. Ten models; an
hour's worth of polls is asked in 36 seconds, scraped and probed meanwhile as
often as in an hour in a pod.

    python -m benchmarks.footprint [RUNS]
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.blackbox import blackbox, probe
from benchmarks.figures import divide, table
from benchmarks.processes import (
    echo_server,
    endpoint,
    get,
    memory,
    plain_poller,
    process,
)
from tests.support import Sidecar, free_port, running_sidecar

# What check imports from others, and the daemon.
OF_CHECK = "import grpc.aio, google.protobuf.message_factory, pydantic_settings, yaml, sys"
OF_DAEMON = f"{OF_CHECK}, aiohttp.web, prometheus_client"

MODELS = tuple(f"model-{number}" for number in range(10))
HOUR = 3600 // 5 * (len(MODELS) + 2)  # questions at the default period
QUICK = ("--period-seconds=0.05", "--timeout-seconds=0.04", "--recovery-period-seconds=0.05")
# Readiness each 2 s, liveness each 10 s, a scrape each 15 s, to the nearest whole number.
MEANWHILE = ("/readyz",) * 8 + ("/healthz",) * 2 + ("/metrics",)

STARTS = 4  # in each run

Figures = dict[str, list[float]]


def flags(url: str) -> tuple[str, ...]:
    """What the daemon is told of the server."""
    return f"--server-url={url}", f"--models={','.join(MODELS)}"


def bare_imports(imports: str = OF_DAEMON) -> tuple[float, float]:
    """Seconds until a process has imported so much, and its memory."""
    started = time.perf_counter()
    with process(sys.executable, "-c", f"{imports}; print(flush=True); sys.stdin.read()") as p:
        assert p.stdout is not None
        p.stdout.readline()
        return time.perf_counter() - started, memory(p.pid)


def start_of_the_daemon(url: str) -> float:
    """Seconds from the start of the process to an answer on /healthz, whatever it says."""
    port = free_port()
    own = (f"--http-port={port}", "--http-host=127.0.0.1", *flags(url))
    with endpoint(sys.executable, "-m", "sidecar", "run", *own, port=port) as daemon:
        return daemon.seconds_to("/healthz")


def answer_of_check(url: str) -> float:
    """Seconds from the start of the process to what it says of a server that is ready."""
    started = time.perf_counter()
    with process(sys.executable, "-m", "sidecar", "check", *flags(url)) as check:
        assert check.stdout is not None
        assert check.stdout.readline() == "[+]server-live ok\n"
        return time.perf_counter() - started


def start_of_the_plain_poller(url: str) -> tuple[float, float]:
    """The same, and its memory once all are ready."""
    with plain_poller(url, *MODELS) as plain:
        duration = plain.seconds_to("/healthz")
        plain.seconds_to("/readyz", 200)
        return duration, memory(plain.pid)


def polls(sidecar: Sidecar) -> float:
    """How many questions it has asked."""
    lines = sidecar.get("/metrics").text.splitlines()
    return sum(
        float(line.split()[-1]) for line in lines if line.startswith("inference_polls_total{")
    )


def memory_of_the_daemon(url: str) -> tuple[float, float]:
    """Once all are ready, and after an hour's worth of polls."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_sidecar(Path(folder, "log"), *flags(url), *QUICK) as sidecar,
    ):
        sidecar.wait_for("/readyz", 200)
        first = memory(sidecar.process.pid)
        while polls(sidecar) < HOUR:
            for path in MEANWHILE:
                sidecar.get(path)
            time.sleep(0.1)
        return first, memory(sidecar.process.pid)


def memory_of_blackbox(url: str) -> tuple[float, float] | None:
    """After its start, and after it has asked as often."""
    with blackbox() as exporter:
        if exporter is None:
            return None
        first = memory(exporter.pid)

        async def ask() -> None:
            for _ in range(HOUR):
                await get(exporter.port, probe("grpc", url))

        asyncio.run(ask())
        return first, memory(exporter.pid)


def starts(url: str, runs: int) -> Figures:
    """Seconds to the first answer, in turn."""
    rows = [
        (start_of_the_daemon(url), bare_imports()[0], start_of_the_plain_poller(url)[0])
        for _ in range(runs)
    ]
    ours, bare, plain = (list(column) for column in zip(*rows, strict=True))
    checks = [(answer_of_check(url), bare_imports(OF_CHECK)[0]) for _ in range(runs)]
    check, bare_of_check = (list(column) for column in zip(*checks, strict=True))
    return {
        "start to the first answer on /healthz, s": ours,
        "start to the end of the bare imports, s": bare,
        "start to the first answer: to the bare imports": divide(ours, bare),
        "start to the plain poller's first answer: to the bare imports": divide(plain, bare),
        "start of check to its findings, s": check,
        "start of check to its findings: to the bare imports": divide(check, bare_of_check),
    }


def sizes(url: str, runs: int) -> Figures:
    """Resident memory in MiB, and its ratios, in turn."""
    rows = [
        (*memory_of_the_daemon(url), bare_imports()[1], start_of_the_plain_poller(url)[1])
        for _ in range(runs)
    ]
    ready, later, bare, plain = (list(column) for column in zip(*rows, strict=True))
    figures = {
        "memory, all ready, MiB": ready,
        "memory, after an hour's polls, MiB": later,
        "memory, bare imports, MiB": bare,
        "memory, all ready: to the bare imports": divide(ready, bare),
        "memory, after an hour's polls: to the bare imports": divide(later, bare),
        "memory, plain poller, all ready: to the bare imports": divide(plain, bare),
    }
    exporters = [pair for _ in range(runs) if (pair := memory_of_blackbox(url))]
    if exporters:
        first, last = (list(column) for column in zip(*exporters, strict=True))
        figures["memory, blackbox_exporter, started, MiB"] = first
        figures["memory, blackbox_exporter, after as many probes, MiB"] = last
    return figures


def main(runs: int) -> None:
    """Prints the figures of so many runs of each."""
    with echo_server() as url:
        print(table(starts(url, STARTS * runs)), flush=True)
        print(table(sizes(url, runs)))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
