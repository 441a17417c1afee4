"""What the demo's server plays: one model is ready, one loads, one fails now and then."""

import asyncio
from typing import NoReturn

import grpc

from sidecar.demo.server import Refusal, ToyServer

STEADY, LOADING, FLAKY = "steady", "slow-to-load", "flaky"
MODELS = (STEADY, LOADING, FLAKY)
LOAD_SECONDS = 8
UP_SECONDS, DOWN_SECONDS = 15, 10


async def perform(server: ToyServer) -> NoReturn:
    """The demo's script: one model is ready at once, one loads, one fails now and then."""
    server.ready = True  # as KServe has it, whose ServerReady does not speak for the models
    server.models = {STEADY: True, LOADING: False, FLAKY: True}
    loading = asyncio.get_running_loop().call_later(
        LOAD_SECONDS, server.models.__setitem__, LOADING, True
    )
    try:
        while True:
            await asyncio.sleep(UP_SECONDS)
            server.models[FLAKY] = Refusal(grpc.StatusCode.INTERNAL, "out of memory, for the demo")
            await asyncio.sleep(DOWN_SECONDS)
            server.models[FLAKY] = True
    finally:
        loading.cancel()
