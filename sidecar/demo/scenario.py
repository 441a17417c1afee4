"""What the demo's server plays: models that load, fail, or are ready in name only."""

import asyncio
from typing import NoReturn

import grpc

from sidecar.demo.server import Refusal, ToyServer

STEADY, LOADING, FLAKY, BROKEN = "steady", "slow-to-load", "flaky", "dead-worker"
MODELS = (STEADY, LOADING, FLAKY, BROKEN)
LOAD_SECONDS = 8
UP_SECONDS, DOWN_SECONDS = 15, 10
# Of the seconds for which all models are ready, the first and for how long no inference works.
BROKEN_AFTER, BROKEN_SECONDS = 3, 6


async def perform(server: ToyServer) -> NoReturn:
    """The demo's script, until it is cancelled."""
    server.ready = True  # as KServe has it, whose ServerReady does not speak for the models
    server.models = {STEADY: True, LOADING: False, FLAKY: True, BROKEN: True}
    loading = asyncio.get_running_loop().call_later(
        LOAD_SECONDS, server.models.__setitem__, LOADING, True
    )
    try:
        await asyncio.sleep(UP_SECONDS)
        while True:
            server.models[FLAKY] = Refusal(grpc.StatusCode.INTERNAL, "out of memory, for the demo")
            await asyncio.sleep(DOWN_SECONDS)
            server.models[FLAKY] = True
            await asyncio.sleep(BROKEN_AFTER)
            server.inferences[BROKEN] = Refusal(grpc.StatusCode.INTERNAL, "the worker has died")
            await asyncio.sleep(BROKEN_SECONDS)
            server.inferences[BROKEN] = True
            await asyncio.sleep(UP_SECONDS - BROKEN_AFTER - BROKEN_SECONDS)
    finally:
        loading.cancel()
