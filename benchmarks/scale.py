"""What does a poll cost, how long is a round of 1,000 models, and what is the memory of each?

A round of the sidecar's own poller, prober, board, counters and logs, in turn
with the same questions by a bare channel at the same concurrency.

    python -m benchmarks.scale [RUNS]
"""

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc.aio
from prometheus_client.registry import CollectorRegistry

from benchmarks.figures import table
from benchmarks.processes import echo_server, memory
from sidecar import logs, metrics, prober
from sidecar.board import Board
from sidecar.client import InferenceGRPCClient
from sidecar.health.checks import SERVER_LIVE, SERVER_READY, Check, Rpc
from sidecar.health.state import Health, Thresholds
from sidecar.oip import SERVICE, messages
from sidecar.poller import Poller, Schedule
from tests.support import running_sidecar, wait_until

MODELS, CONCURRENCY, TIMEOUT = 1000, 8, 2.0
FEW, MANY = 10, 10_000

CHECKS = (
    SERVER_LIVE,
    SERVER_READY,
    *(Check(Rpc.MODEL_READY, f"model-{number}") for number in range(MODELS)),
)
ARGS = prober.channel_args(
    timeout=TIMEOUT, recovery_period=1, server_name=None, user_agent="benchmark"
)


def round_of_ours(client: InferenceGRPCClient) -> Callable[[], Awaitable[None]]:
    """A round of the poller, with everything that listens to it."""
    counter = metrics.PollCounter(CollectorRegistry(), time.time)
    health = Health.initial(CHECKS, time.monotonic(), Thresholds(), Thresholds())
    board = Board(health, [counter, logs.log_transitions])
    asking = prober.Prober(client, timeout=TIMEOUT, headers={}, clock=time.monotonic)
    return Poller(
        board,
        Schedule(period=60, concurrency=CONCURRENCY),
        ask=asking.ask,
        wait_lost=client.wait_disconnected,
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


async def rounds(url: str, runs: int) -> dict[str, list[float]]:
    """The figures of so many rounds of each, in turn."""
    async with (
        InferenceGRPCClient(url, channel_args=ARGS) as client,
        grpc.aio.insecure_channel(url, ARGS) as channel,
    ):
        ours, bare = round_of_ours(client), round_of_the_bare_channel(channel)
        await ours()
        await bare()
        pairs = [(await timed(ours), await timed(bare)) for _ in range(runs)]
    return {
        "a round of 1,000 models, s": [our[0] for our, _ in pairs],
        "a round of 1,000 models, wall: to the bare channel": [o[0] / b[0] for o, b in pairs],
        "CPU a poll, us": [our[1] / len(CHECKS) * 1e6 for our, _ in pairs],
        "CPU a poll: to the bare channel": [our[1] / bare[1] for our, bare in pairs],
    }


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
        return memory(sidecar.process.pid)[0]


def main(runs: int) -> None:
    """Prints the figures."""
    with echo_server() as url:
        figures = asyncio.run(rounds(url, runs))
        figures["a further model, KiB"] = [
            (resident(url, MANY) - resident(url, FEW)) * 1024 / (MANY - FEW)
            for _ in range(min(runs, 3))
        ]
    print(table(figures))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
