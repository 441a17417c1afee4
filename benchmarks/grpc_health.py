"""How fast does a Watch of grpc.health.v1 say what has changed, and what does the service cost?

From the transition in the daemon's store to the message at the client, with one
and with 1,000 watchers on one connection; and the memory of the daemon with the
service on and off.

    python -m benchmarks.grpc_health [FLIPS]
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import grpc.aio

from benchmarks.figures import divide, table
from benchmarks.processes import memory
from sidecar.core.checks import SERVER_LIVE, SERVER_READY, Check, Observation, model_ready
from sidecar.core.reasons import Reason, Thresholds
from sidecar.core.snapshot import Policy, Snapshot
from sidecar.core.state import Health
from sidecar.oip import health as messages
from sidecar.outputs.grpc_health import MIN_INTERVAL, GrpcHealth
from sidecar.store import HealthStore
from tests.support import free_port, running_sidecar
from tests.toy import ToyProcess

MODEL = model_ready("a")
CHECKS = (SERVER_LIVE, SERVER_READY, MODEL)


async def delays(flips: int, watchers: int) -> list[float]:
    """Milliseconds to the message at each watcher, of so many transitions."""
    port, thresholds = free_port(), Thresholds()
    store = HealthStore(Health.initial(CHECKS, 0, thresholds, thresholds))

    def see(check: Check, reason: Reason) -> None:
        store.record(Observation(check, reason, time.monotonic(), 0.001))

    served = GrpcHealth(
        lambda: Snapshot(store.health, time.monotonic(), Policy(max_age=3600)), "127.0.0.1", port
    )
    store = HealthStore(store.health, [served])
    for check in CHECKS:
        see(check, Reason.OK)
    serving = asyncio.create_task(served.serve())
    took: list[float] = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            messages.HealthCheckRequest.SerializeToString,
            messages.HealthCheckResponse.FromString,
        )
        calls = [watch(messages.HealthCheckRequest(service="readyz")) for _ in range(watchers)]
        for call in calls:
            await call.read()
        for number in range(flips):
            await asyncio.sleep(2 * MIN_INTERVAL)
            start = time.perf_counter()
            see(MODEL, Reason.OK if number % 2 else Reason.NOT_READY)

            async def received(call: object, start: float = start) -> float:
                await call.read()  # type: ignore[attr-defined]
                return (time.perf_counter() - start) * 1000

            took += await asyncio.gather(*map(received, calls))
    serving.cancel()
    await asyncio.wait({serving})
    return took


def resident(url: str, *flags: str) -> float:
    """MiB of the daemon."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_sidecar(Path(folder, "log"), f"--server-url={url}", "--models=a", *flags) as daemon,
    ):
        daemon.wait_for("/readyz", 200)
        return memory(daemon.process.pid)


def main(flips: int) -> None:
    """Prints the figures."""
    figures = {
        "transition to Watch, one watcher, ms": asyncio.run(delays(flips, 1)),
        "transition to Watch, 1,000 watchers, ms": asyncio.run(delays(10, 1000)),
    }
    print(table(figures, percentile=True), "\n")
    with ToyProcess(models={"a": True}) as toy:
        off, on = [], []
        for _ in range(5):
            off.append(resident(toy.url))
            on.append(resident(toy.url, f"--grpc-port={free_port()}"))
    sizes = {"memory, off, MiB": off, "memory, on, MiB": on, "memory, on: to off": divide(on, off)}
    print(table(sizes))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
