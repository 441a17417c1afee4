"""infer_stream on a real decoupled Triton model and on MLServer's streaming."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from sidecar.client import InferenceError, InferenceGRPCClient, InferInput, InferRequest
from tests.interop.inference_servers import KServe, MLServer
from tests.interop.tritons import Triton
from tests.support import eventually, wait_until

# The first run installs the servers.
pytestmark = pytest.mark.timeout(900)

MODEL, MISSING = "streams", "missing"
FAIL, HANG = -1, -2
KINDS = [Triton, MLServer]
ON_TRITON = pytest.mark.parametrize("started", [Triton], indirect=True)

Server = Triton | MLServer
FINAL = "triton_final_response"


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.environment.name)
def started(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[tuple[Server, Path]]:
    """A real server with a model that streams, and the model's folder."""
    server: Server = request.param(tmp_path_factory.mktemp("server"))
    try:
        folder = server.add_stream(MODEL)
        server.start()
        wait_until(lambda: asyncio.run(is_ready(server)), within=30)
        yield server, folder
    finally:
        server.kill()


async def is_ready(server: Server) -> bool:
    """Whether its model is."""
    async with InferenceGRPCClient(f"127.0.0.1:{server.port}") as client:
        return await client.is_model_ready(MODEL)


@pytest.fixture
def server(started):
    return started[0]


@pytest.fixture
def marker(started):
    """The file that the model makes when its call is cancelled."""
    path = started[1] / "cancelled"
    path.unlink(missing_ok=True)
    return path


@pytest.fixture
async def client(server):
    async with InferenceGRPCClient(f"127.0.0.1:{server.port}", timeout=30) as client:
        yield client


def asking(*elements: int, raw: bool = True, model: str = MODEL, **options: Any) -> InferRequest:
    """A request that the model answers once an element."""
    tensor = InferInput("x", [len(elements)], "INT32")
    tensor.set_data_from_numpy(np.array(elements, "i4"), binary_data=raw)
    return InferRequest(model, [tensor], **options)


async def values(stream: Any, into: list[int]) -> None:
    """Collects what each response holds."""
    async for response in stream:
        assert response.model_name == MODEL
        into.append(int(response.outputs[0].as_numpy()[0]))


@pytest.mark.parametrize("raw", [True, False])
async def test_responses_come_in_their_order_and_the_stream_ends(client, raw):
    for many in (1, 300):
        found: list[int] = []
        await values(client.infer_stream(asking(*range(many), raw=raw)), found)
        assert found == list(range(many))


async def test_the_id_comes_back_with_each_response(client):
    ids = [response.id async for response in client.infer_stream(asking(1, 2, request_id="7"))]
    assert ids == ["7", "7"]


async def test_the_first_response_is_there_while_the_model_still_works(client, marker):
    stream = client.infer_stream(asking(5, HANG))
    assert (await anext(stream)).outputs[0].data == [5]
    assert not marker.exists()
    await stream.aclose()
    await eventually(marker.exists)


async def test_leaving_the_loop_cancels_the_call_on_the_server(client, marker):
    async for response in client.infer_stream(asking(5, HANG)):
        assert response.outputs[0].data == [5]
        break
    await eventually(marker.exists)


async def test_a_consumer_that_is_cancelled_cancels_the_call_on_the_server(client, marker):
    found: list[int] = []
    consumer = asyncio.create_task(values(client.infer_stream(asking(5, HANG)), found))
    await eventually(lambda: found == [5])
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    await eventually(marker.exists)


async def test_the_timeout_is_the_deadline_of_the_whole_stream(client, marker):
    found: list[int] = []
    started = time.monotonic()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await values(client.infer_stream(asking(5, HANG), timeout=1), found)
    assert 0.9 < time.monotonic() - started < 10
    assert (found, caught.value.code()) == ([5], grpc.StatusCode.DEADLINE_EXCEEDED)
    await eventually(marker.exists)


async def test_what_the_model_says_went_wrong_stands_in_the_error(server, client):
    kind = InferenceError if isinstance(server, Triton) else grpc.aio.AioRpcError
    found: list[int] = []
    with pytest.raises(kind, match="told to fail"):
        await values(client.infer_stream(asking(5, FAIL, 6)), found)
    assert found == [5]
    await values(client.infer_stream(asking(6)), found)  # the connection is as good as before
    assert found == [5, 6]


async def test_a_model_that_is_not_there_is_named_in_the_error(server, client):
    kind = InferenceError if isinstance(server, Triton) else grpc.aio.AioRpcError
    with pytest.raises(kind, match=MISSING):
        await values(client.infer_stream(asking(5, model=MISSING)), [])


async def test_many_streams_share_a_connection(client):
    found: list[list[int]] = [[] for _ in range(16)]
    await asyncio.gather(
        *(values(client.infer_stream(asking(*range(100))), into) for into in found)
    )
    assert found == [list(range(100))] * 16


@ON_TRITON
async def test_tritons_final_response_without_outputs_is_left_out(client):
    wanted = {"triton_enable_empty_final_response": True}
    for parameters in (None, wanted):
        stream = client.infer_stream(asking(5, 6, parameters=parameters))
        assert [response.parameters async for response in stream] == [{FINAL: False}] * 2
        assert [r async for r in client.infer_stream(asking(parameters=parameters))] == []


@ON_TRITON
async def test_triton_may_be_asked_for_an_error_as_a_status(client):
    with pytest.raises(grpc.aio.AioRpcError, match="told to fail"):
        await values(client.infer_stream(asking(FAIL), headers={"triton_grpc_error": "true"}), [])


def test_a_server_without_streams_says_that_it_has_none(tmp_path):
    server = KServe(tmp_path)

    async def ask() -> None:
        async with InferenceGRPCClient(f"127.0.0.1:{server.port}") as client:
            await values(client.infer_stream(asking(1)), [])

    try:
        server.start(loaded=["int32"])
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            asyncio.run(ask())
    finally:
        server.kill()
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
