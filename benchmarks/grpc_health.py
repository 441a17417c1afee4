"""How fast does a Watch of grpc.health.v1 say what has changed, and what does the service cost?

From the transition in the daemon's store to the message at the client, with one
and with 1,000 watchers on one connection; to the last call that gRPC's own
client-side health checking sends to the server that fails, of two; and the memory
of the daemon with the service on and off.

    python -m benchmarks.grpc_health [FLIPS]
"""

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

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


class Served:
    """The service of a store whose one model is made ready and unready."""

    def __init__(self, model: str) -> None:
        self.port, self._check = free_port(), model_ready(model)
        checks, thresholds = (SERVER_LIVE, SERVER_READY, self._check), Thresholds()
        service = GrpcHealth(self._snapshot, "127.0.0.1", self.port)
        health = Health.initial(checks, 0, thresholds, thresholds)
        self._store = HealthStore(health, [service])
        for check in checks:
            self._see(check, Reason.OK)
        self.serving = asyncio.create_task(service.serve())

    def turn(self, *, ready: bool) -> None:
        """The model turns ready or unready."""
        self._see(self._check, Reason.OK if ready else Reason.NOT_READY)

    async def close(self) -> None:
        """Ends it."""
        self.serving.cancel()
        await asyncio.wait({self.serving})

    def _see(self, check: Check, reason: Reason) -> None:
        self._store.record(Observation(check, reason, time.monotonic(), 0.001))

    def _snapshot(self) -> Snapshot:
        return Snapshot(self._store.health, time.monotonic(), Policy(max_age=3600))


async def delays(flips: int, watchers: int) -> list[float]:
    """Milliseconds to the message at each watcher, of so many transitions."""
    served, took = Served("a"), list[float]()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{served.port}") as channel:
        watch = channel.unary_stream(
            "/grpc.health.v1.Health/Watch",
            messages.HealthCheckRequest.SerializeToString,
            messages.HealthCheckResponse.FromString,
        )
        request = messages.HealthCheckRequest(service="readyz")
        calls = [watch(request, wait_for_ready=True) for _ in range(watchers)]
        for call in calls:
            await call.read()
        for number in range(flips):
            await asyncio.sleep(2 * MIN_INTERVAL)
            start = time.perf_counter()
            served.turn(ready=number % 2 == 1)

            async def received(call: Any, start: float = start) -> float:
                await call.read()
                return (time.perf_counter() - start) * 1000

            took += await asyncio.gather(*map(received, calls))
    await served.close()
    return took


async def switches(flips: int) -> list[float]:
    """Milliseconds to the last answer of the server that fails, eight calls at once."""
    one, two, took = Served("one"), Served("two"), list[float]()
    config = {
        "loadBalancingConfig": [{"round_robin": {}}],
        "healthCheckConfig": {"serviceName": "readyz"},
    }
    url = f"ipv4:127.0.0.1:{one.port},127.0.0.1:{two.port}"
    options = [("grpc.service_config", json.dumps(config))]
    async with grpc.aio.insecure_channel(url, options=options) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            messages.HealthCheckRequest.SerializeToString,
            messages.HealthCheckResponse.FromString,
        )

        async def is_answered_by_one() -> bool:
            try:
                await check(messages.HealthCheckRequest(service="model:two"), wait_for_ready=True)
            except grpc.aio.AioRpcError:  # NOT_FOUND
                return True
            return False

        for _ in range(flips):
            while not await is_answered_by_one():
                pass
            await asyncio.sleep(2 * MIN_INTERVAL)
            start = time.perf_counter()
            one.turn(ready=False)

            async def call_on(start: float = start) -> float:
                last = start
                while time.perf_counter() - start < MIN_INTERVAL:
                    if await is_answered_by_one():
                        last = time.perf_counter()
                return (last - start) * 1000

            took.append(max(await asyncio.gather(*(call_on() for _ in range(8)))))
            one.turn(ready=True)
    await one.close()
    await two.close()
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
        "transition to the last answer of that server, ms": asyncio.run(switches(flips)),
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
