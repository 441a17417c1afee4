"""What does a poll cost, how long is a round of 1,000 models, and what is the memory of each?

A round of the sidecar's own poller, prober, store, counters and logs, in turn
with the same questions by a bare channel at the same concurrency, and with
the round of the plain poller, which asks one question after the other.

    python -m benchmarks.scale [RUNS]
"""

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

import grpc.aio

from benchmarks.figures import divide, table
from benchmarks.processes import Contender, contender, echo_server, memory
from sidecar.core.checks import SERVER_LIVE, SERVER_READY, model_ready
from sidecar.core.reasons import Thresholds
from sidecar.core.schedule import CheckSchedule, Schedule
from sidecar.core.state import Health
from sidecar.core.target import Target
from sidecar.oip import SERVICE, messages
from sidecar.outputs import log
from sidecar.outputs.poll_counter import PollCounter
from sidecar.probes.channel import channel_args
from sidecar.probes.prober import Prober
from sidecar.scheduler import Scheduler
from sidecar.store import HealthStore
from tests.support import running_sidecar, wait_until

MODELS, CONCURRENCY, TIMEOUT = 1000, 8, 2.0
FEW, MORE, MANY = 10, 1000, 10_000

# A run is so many rounds of each, because a single one is too short to be believed.
ROUNDS = 10

CHECKS = (
    SERVER_LIVE,
    SERVER_READY,
    *(model_ready(f"model-{number}") for number in range(MODELS)),
)


def round_of_ours(prober: Prober) -> Callable[[], Awaitable[None]]:
    """A round of the poller, with everything that listens to it."""
    counter = PollCounter(time.time)
    health = Health.initial(CHECKS, time.monotonic(), Thresholds(), Thresholds())
    store = HealthStore(health, [counter, log.log_change])
    return Scheduler(
        store,
        Schedule(CheckSchedule(60, 1, TIMEOUT), concurrency=CONCURRENCY),
        ask=prober.ask,
        wait_changed=prober.wait_changed,
        clock=time.monotonic,
        sleep=asyncio.sleep,
        uniform=random.uniform,
    ).round


def round_of_the_bare_channel(channel: grpc.aio.Channel) -> Callable[[], Awaitable[None]]:
    """The same questions as bytes, their answers not read."""
    call: Any = channel.unary_unary(f"/{SERVICE}/ModelReady")
    questions = [
        messages.ModelReadyRequest(name=check.model).SerializeToString() for check in CHECKS
    ]

    async def ask_all() -> None:
        left = iter(questions)

        async def work() -> None:
            for question in left:
                await call(question, timeout=TIMEOUT)

        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))

    return ask_all


async def timed(work: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """Seconds by the wall and of CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    return time.perf_counter() - wall, time.process_time() - cpu


async def rounds(url: str, plain: Contender, runs: int) -> dict[str, list[float]]:
    """The figures of so many runs of each, in turn."""
    models = [check.model for check in CHECKS if check.model]
    ours: list[tuple[float, float]] = []
    bare: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    target = Target(url, SERVICE, TIMEOUT, recovery_period=1)
    prober = Prober(target, time.monotonic)
    async with grpc.aio.insecure_channel(url, channel_args(target)) as channel:
        our_round, bare_round = round_of_ours(prober), round_of_the_bare_channel(channel)
        for _ in range(1 + runs):
            pairs = [(await timed(our_round), await timed(bare_round)) for _ in range(ROUNDS)]
            ours.append(mean(our for our, _ in pairs))
            bare.append(mean(bare for _, bare in pairs))
            theirs.append(plain.do(work="plain_round", calls=2, models=models))
    await prober.close()
    # The first run only warmed up.
    our_wall, our_cpu = zip(*ours[1:], strict=True)
    bare_wall, bare_cpu = zip(*bare[1:], strict=True)
    their_wall, their_cpu = zip(*theirs[1:], strict=True)
    return {
        "a round of 1,000 models, s": list(our_wall),
        "a round of 1,000 models, plain poller, s": list(their_wall),
        "a round of 1,000 models: to the bare channel": divide(our_wall, bare_wall),
        "a round of 1,000 models, plain poller: to the bare channel": divide(their_wall, bare_wall),
        "CPU a poll, us": [seconds / len(CHECKS) * 1e6 for seconds in our_cpu],
        "CPU a poll: to the bare channel": divide(our_cpu, bare_cpu),
        "CPU a poll, plain poller: to the bare channel": divide(their_cpu, bare_cpu),
    }


def mean(pairs: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Of each column."""
    first, second = zip(*pairs, strict=True)
    return fmean(first), fmean(second)


def resident(url: str, models: int) -> float:
    """MiB of the daemon once it has asked about every model."""
    names = ",".join(f"model-{number}" for number in range(models))
    flags = (
        f"--server-url={url}",
        f"--models={names}",
        "--period-seconds=60",
        "--timeout-seconds=2",
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        running_sidecar(Path(folder, "log"), *flags) as sidecar,
    ):
        wait_until(lambda: sidecar.get("/readyz").status == 200, within=60)
        return memory(sidecar.process.pid)


def growth(url: str) -> tuple[float, float]:
    """KB that each further model takes, up to 1,000 and up to 10,000."""
    few, more, many = (resident(url, models) * 1024**2 / 1000 for models in (FEW, MORE, MANY))
    return (more - few) / (MORE - FEW), (many - few) / (MANY - FEW)


def main(runs: int) -> None:
    """Prints the figures."""
    with echo_server() as url, contender("kserve", url) as plain:
        figures = asyncio.run(rounds(url, plain, runs))
        grown = [growth(url) for _ in range(min(runs, 5))]
    figures["a further model, up to 1,000, KB"] = [kb for kb, _ in grown]
    figures["a further model, up to 10,000, KB"] = [kb for _, kb in grown]
    print(table(figures))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
