"""The script of the demo's server: models that load, fail, or report ready without working."""

import asyncio
from typing import NoReturn

import grpc

from sidecar.demo.server import Refusal, ToyServer

STEADY, LOADING, FLAKY, BROKEN = "steady", "slow-to-load", "flaky", "dead-worker"
MODELS = (STEADY, LOADING, FLAKY, BROKEN)
LOAD_SECONDS = 8
UP_SECONDS, DOWN_SECONDS = 15, 10
# Within the time that all models are ready: the second from which no inference works, and how long.
BROKEN_AFTER, BROKEN_SECONDS = 3, 6


async def perform(server: ToyServer) -> NoReturn:
    """Perform the demo's script until cancelled."""
    server.ready = True  # as on KServe, whose ServerReady does not include the models
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
