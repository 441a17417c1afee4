"""A real Envoy that checks the health of servers by the sidecars beside them."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from sidecar.client import InferenceGRPCClient, InferInput, InferRequest
from sidecar.demo.server import ToyServer
from tests.interop.proxies import balancing_envoy
from tests.support import free_port, running_sidecar

# The first run installs Envoy.
pytestmark = pytest.mark.timeout(600)

MODEL = "a"
QUICK = ("--period-seconds=0.3", "--timeout-seconds=0.25", "--recovery-period-seconds=0.1")
REQUEST = InferRequest(MODEL, [InferInput("x", [1], "FP32", data=[1.0])])


async def infer(client: InferenceGRPCClient, times: int) -> int:
    """How many of so many inferences, eight at once, failed."""
    failed = 0
    left = iter(range(times))

    async def work() -> None:
        nonlocal failed
        for _ in left:
            try:
                await client.infer(REQUEST, timeout=5)
            except Exception:  # noqa: BLE001 # whatever it is
                failed += 1

    await asyncio.gather(*(work() for _ in range(8)))
    return failed


async def test_envoy_takes_a_server_out_and_back_under_load(tmp_path):
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(ToyServer({MODEL: True, "b": True})) for _ in range(2)
        ]
        health = {}
        for number, server in enumerate(servers):
            health[server.port] = free_port()
            url, port = f"--server-url=127.0.0.1:{server.port}", health[server.port]
            flags = (url, f"--grpc-port={port}", "--models=a,b", *QUICK)
            log = tmp_path / f"log{number}"
            daemon = stack.enter_context(running_sidecar(log, *flags))
            await asyncio.to_thread(daemon.wait_for, "/readyz", 200)
        envoy = await asyncio.to_thread(
            stack.enter_context, balancing_envoy(tmp_path, health, "readyz")
        )
        client = await stack.enter_async_context(
            InferenceGRPCClient(f"127.0.0.1:{envoy}", retries=0)
        )
        await both_are_used(client, servers)
        # No inference needs this model, so that none may fail meanwhile.
        servers[0].models["b"] = False
        await only_the_last_is_used(client, servers)
        servers[0].models["b"] = True
        await both_are_used(client, servers)


async def both_are_used(client: InferenceGRPCClient, servers: list[ToyServer]) -> None:
    """Until both servers have got inferences."""
    async with asyncio.timeout(15):
        while True:
            before = [server.asked["ModelInfer"] for server in servers]
            failed = await infer(client, 40)
            after = [server.asked["ModelInfer"] for server in servers]
            if failed == 0 and all(b > a for a, b in zip(before, after, strict=True)):
                return


async def only_the_last_is_used(client: InferenceGRPCClient, servers: list[ToyServer]) -> None:
    """Until the first server gets no inference any more; none fails on the way."""
    async with asyncio.timeout(15):
        while True:
            before = servers[0].asked["ModelInfer"]
            assert await infer(client, 40) == 0
            if servers[0].asked["ModelInfer"] == before:
                return
