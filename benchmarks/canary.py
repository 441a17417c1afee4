"""What do canaries cost the daemon, and how fast is a dead worker noticed?

The cost: daemons beside one server of 1,000 models, of which none, ten or all
have a canary, at its default period of 30 s. Memory, CPU for a second, and
how long /readyz takes on new connections.

The death: from the moment when every inference of a model fails, while the
server goes on to call it ready, to 503; at the defaults and at a period of 2 s,
with ten daemons at once, whose canaries come at different moments.

    python -m benchmarks.canary [RUNS]
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.figures import divide, table
from benchmarks.processes import cpu, get, memory, seen
from tests.support import Sidecar, running_sidecar
from tests.toy import ToyProcess

MODELS = 1000
CANARIED = (0, 10, MODELS)
SECONDS = 60  # two periods
PERIOD = "--period-seconds=15"  # of the rounds: at 5 s a slow machine cannot keep up with three
DAEMONS = 10
DEAD = {"status": "INTERNAL", "details": "the worker has died"}


def settings(canaried: int) -> str:
    """The models, of which the first so many have a canary."""
    models = [
        {"name": f"model-{number}", "canary": "auto" if number < canaried else "off"}
        for number in range(MODELS)
    ]
    return json.dumps({"models": models})


@contextmanager
def beside(server: ToyProcess, folder: Path, *flags: str) -> Iterator[Sidecar]:
    """A daemon that watches the server."""
    folder.mkdir()
    with running_sidecar(folder / "log", f"--server-url={server.url}", *flags) as daemon:
        yield daemon


async def readyz(port: int, seconds: float) -> list[float]:
    """Milliseconds of each answer, twenty times a second."""
    took, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        await get(port, "/readyz")
        took.append((time.perf_counter() - start) * 1000)
        await asyncio.sleep(0.05)
    return took


def cost(runs: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Memory and CPU of so many runs, and every answer of /readyz."""
    resident: dict[int, list[float]] = {number: [] for number in CANARIED}
    used: dict[int, list[float]] = {number: [] for number in CANARIED}
    answers: dict[int, list[float]] = {number: [] for number in CANARIED}
    models = {f"model-{number}": True for number in range(MODELS)}
    for _ in range(runs):
        with (
            tempfile.TemporaryDirectory() as folder,
            ToyProcess(models=models) as server,
            ExitStack() as stack,
        ):
            daemons = {}
            for number in CANARIED:
                place = Path(folder, str(number))
                config = Path(folder, f"{number}.yaml")
                config.write_text(settings(number))
                daemon = stack.enter_context(beside(server, place, f"--config={config}", PERIOD))
                daemon.wait_for("/readyz", 200, within=60)
                daemons[number] = daemon
            before = {number: cpu(d.process.pid) for number, d in daemons.items()}
            took = asyncio.run(ask_all([d.port for d in daemons.values()]))
            for (number, daemon), times in zip(daemons.items(), took, strict=True):
                used[number].append((cpu(daemon.process.pid) - before[number]) / SECONDS * 1000)
                resident[number].append(memory(daemon.process.pid))
                answers[number] += times
    figures: dict[str, list[float]] = {}
    for name, each in (("memory, MiB", resident), ("CPU for a second, ms", used)):
        figures |= {f"{name}, {number:,} canaries": each[number] for number in CANARIED}
        for number in CANARIED[1:]:
            figures[f"{name}, {number:,} canaries: to none"] = divide(each[number], each[0])
    few = CANARIED[1]  # what the first ones need, such as modules, is not a further one's
    grown = [
        (with_all - with_few) * 1024**2 / 1000 / (MODELS - few)
        for with_all, with_few in zip(resident[MODELS], resident[few], strict=True)
    ]
    figures["a further model's canary, KB"] = grown
    return figures, {f"/readyz, {n:,} canaries, ms": answers[n] for n in CANARIED}


async def ask_all(ports: Sequence[int]) -> list[list[float]]:
    """The answers of all, side by side."""
    return await asyncio.gather(*(readyz(port, SECONDS) for port in ports))


def deaths(runs: int, *flags: str) -> list[float]:
    """Seconds from a death to 503, of every daemon."""
    found: list[float] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        ToyProcess(models={"a": True}) as server,
        ExitStack() as stack,
    ):
        more = ("--models=a", "--canary=auto", "--canary-success-threshold=1", *flags)
        daemons = [
            stack.enter_context(beside(server, Path(folder, str(number)), *more))
            for number in range(DAEMONS)
        ]
        for _ in range(runs):
            for daemon in daemons:
                daemon.wait_for_line("[+]canary:a ok", within=60)
            server.tell(models={"a": True}, inferences={"a": DEAD})
            found += asyncio.run(seconds_to_503([daemon.port for daemon in daemons]))
            server.tell(models={"a": True})
    return found


async def seconds_to_503(ports: Sequence[int]) -> list[float]:
    """Seconds from now until each fails."""
    start = time.perf_counter()
    times = await asyncio.gather(*(seen(port, "/readyz", 503, pause=0.01) for port in ports))
    return [at - start for at in times]


def main(runs: int) -> None:
    """Prints the figures."""
    figures, answers = cost(runs)
    print(table(figures), "\n")
    print(table(answers, percentile=True), "\n")
    print(
        table(
            {
                "death to 503, defaults, s": deaths(1),
                "death to 503, period 2 s, s": deaths(runs, "--canary-period-seconds=2"),
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
