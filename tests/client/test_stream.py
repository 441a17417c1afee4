"""infer_stream over real gRPC: order, end, errors, cancellation, deadline."""

import asyncio
import contextlib
import logging

import grpc
import numpy as np
import pytest

from sidecar.client import (
    InferenceError,
    InferenceGRPCClient,
    InferInput,
    InferOutput,
    InferRequest,
    InferResponse,
    InvalidInput,
)
from sidecar.demo.server import Late, Refusal, Silence
from sidecar.oip import messages
from tests.client.echo import wrapped
from tests.client.inference.foreign import foreign
from tests.support import eventually, untyped


def bare(value: int) -> bytes:
    """A response as MLServer streams it."""
    response = InferResponse("", "m", [InferOutput("x", [1], "INT32", [value])])
    return response.to_grpc().SerializeToString()


def of_triton(value: int) -> bytes:
    return wrapped(bare(value))


def failure(text: str) -> bytes:
    return messages.ModelStreamInferResponse(error_message=text).SerializeToString()


REQUEST = InferRequest("m", [InferInput("x", [1], "INT32", [7])])


async def values(stream, into=None):
    """What each response holds."""
    found = [] if into is None else into
    async for response in stream:
        found.append(response.outputs[0].data[0])
    return found


@pytest.mark.parametrize("form", [of_triton, bare])
@pytest.mark.parametrize("many", [0, 1, 1000])
async def test_responses_come_in_their_order_and_the_stream_ends(server, client, form, many):
    server.stream = [form(number) for number in range(many)]
    assert await values(client.infer_stream(REQUEST)) == list(range(many))


@pytest.mark.parametrize("form", [of_triton, bare])
async def test_the_first_response_is_there_before_the_others(server, client, form):
    server.stream = [form(1), Silence()]
    stream = client.infer_stream(REQUEST)
    first = await anext(stream)
    assert first == InferResponse("", "m", [InferOutput("x", [1], "INT32", [1])])
    assert first.outputs[0].parameters == first.parameters == {}
    await stream.aclose()


async def test_a_large_response_passes(client):
    array = np.arange(2 * 2**20, dtype="f4")
    tensor = InferInput("x", [len(array)], "FP32", array)
    request = InferRequest("m", [tensor], parameters={"responses": 3})
    responses = [response async for response in client.infer_stream(request)]
    assert len(responses) == 3
    assert all(np.array_equal(r.outputs[0].as_numpy(), array) for r in responses)


@pytest.mark.parametrize("package", ["ours", "another's"])
async def test_a_message_is_sent_as_it_is(server, client, package):
    message = REQUEST.to_grpc()
    if package != "ours":
        message = untyped(foreign("ModelInferRequest").FromString(message.SerializeToString()))
    # Only the model's name says that this is no error.
    server.stream = [messages.ModelInferResponse(model_name="m").SerializeToString()]
    responses = [response async for response in client.infer_stream(message)]
    assert responses == [InferResponse("", "m", [])]
    assert server.requests["ModelStreamInfer"] == message.SerializeToString()


async def test_an_error_message_ends_the_stream_with_an_inference_error(server, client):
    server.stream = [of_triton(1), failure("told to fail"), of_triton(2), Silence()]
    found: list[int] = []
    with pytest.raises(InferenceError, match=r"^told to fail$"):
        await values(client.infer_stream(REQUEST), found)
    assert found == [1]
    await eventually(lambda: server.cancelled == 1)


@pytest.mark.parametrize("before", [[], [of_triton(1)], [bare(1)]])
async def test_an_answer_that_is_not_ok_is_an_rpc_error_after_what_came_before(
    server, client, before
):
    server.stream = [*before, Refusal(grpc.StatusCode.NOT_FOUND, "no such model")]
    found: list[int] = []
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await values(client.infer_stream(REQUEST), found)
    assert (caught.value.code(), caught.value.details()) == (
        grpc.StatusCode.NOT_FOUND,
        "no such model",
    )
    assert found == [1] * len(before)


async def test_a_message_that_cannot_be_parsed_is_an_rpc_error(server, client):
    server.stream = [b"\xff\xff", Silence()]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await values(client.infer_stream(REQUEST))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "the reply to ModelStreamInfer cannot be parsed: " in str(caught.value.details())
    await eventually(lambda: server.cancelled == 1)


async def test_a_response_with_a_bad_tensor_is_invalid_input_with_its_name(server, client):
    tensor = InferOutput("y", [1], "FP32", [1])
    message = InferResponse("", "m", [tensor], use_binary_outputs=True).to_grpc()
    message.raw_output_contents[0] = b"123"
    server.stream = [wrapped(message.SerializeToString()), Silence()]
    with pytest.raises(InvalidInput, match="tensor 'y': 3 raw bytes; FP32 of shape"):
        await values(client.infer_stream(REQUEST))
    await eventually(lambda: server.cancelled == 1)


async def test_leaving_the_loop_cancels_the_call(server, client):
    server.stream = [of_triton(1), of_triton(2), Silence()]
    async for response in client.infer_stream(REQUEST):
        assert response.outputs[0].data == [1]
        break
    await eventually(lambda: server.cancelled == 1)


async def test_an_error_in_the_loop_cancels_the_call(server, client):
    server.stream = [of_triton(1), Silence()]

    async def fail() -> None:
        async for _ in client.infer_stream(REQUEST):
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    await eventually(lambda: server.cancelled == 1)


async def test_an_iterator_that_is_kept_ends_the_call_when_it_is_closed(server, client):
    server.stream = [of_triton(1), Silence()]
    stream = client.infer_stream(REQUEST)
    await anext(stream)
    await stream.aclose()
    await eventually(lambda: server.cancelled == 1)
    assert await values(stream) == []


@pytest.mark.parametrize("before", [[], [of_triton(1)]])
async def test_a_consumer_that_is_cancelled_cancels_the_call(server, client, before):
    server.stream = [*before, Silence()]
    found: list[int] = []
    consumer = asyncio.create_task(values(client.infer_stream(REQUEST), found))
    await eventually(lambda: server.asked["ModelStreamInfer"] and len(found) == len(before))
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    await eventually(lambda: server.cancelled == 1)


async def test_a_client_that_is_closed_ends_its_streams(server):
    server.stream = [of_triton(1), Silence()]
    async with InferenceGRPCClient(f"127.0.0.1:{server.port}") as client:
        stream = client.infer_stream(REQUEST)
        await anext(stream)
    with pytest.raises(asyncio.CancelledError):
        await anext(stream)
    await eventually(lambda: server.cancelled == 1)
    with pytest.raises(grpc.aio.UsageError, match="the client is closed"):
        await anext(client.infer_stream(REQUEST))


@pytest.mark.parametrize("own", [True, False])
async def test_the_timeout_is_the_deadline_of_the_whole_stream(server, own):
    server.stream = [Late(0.05, of_triton(1))] * 1000
    url = f"127.0.0.1:{server.port}"
    async with InferenceGRPCClient(url, timeout=60 if own else 0.5) as client:
        await client.is_server_live(timeout=10)  # it is connected
        stream = client.infer_stream(REQUEST, 0.5) if own else client.infer_stream(REQUEST)
        found: list[int] = []
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await values(stream, found)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert 1 <= len(found) <= 10
    await eventually(lambda: server.cancelled == 1)


async def test_what_cannot_be_used_is_refused_at_once_and_nothing_is_sent(server, client):
    for other in (None, "m", foreign("ModelReadyRequest")(), InferResponse("", "m", [])):
        with pytest.raises(InvalidInput, match="allowed: InferRequest, ModelInferRequest"):
            client.infer_stream(untyped(other))
    with pytest.raises(InvalidInput, match="tensor 'x': it has no data"):
        client.infer_stream(InferRequest("m", [InferInput("x", [1], "FP32")]))
    with pytest.raises(InvalidInput, match="a timeout of type str is neither"):
        client.infer_stream(REQUEST, untyped("soon"))
    with pytest.raises(InvalidInput, match="the name of header 1"):
        client.infer_stream(REQUEST, headers={"Upper": "x"})
    client.infer_stream(REQUEST)  # not iterated
    assert not server.asked


async def test_parameters_and_headers_arrive(server, client):
    request = InferRequest("m", [], request_id="9", parameters={"half": 0.5, "responses": 2})
    headers: dict[str, str | bytes] = {"x-id": "5", "x-bin": b"\0"}
    responses = [r async for r in client.infer_stream(request, headers=headers)]
    assert [(r.id, r.parameters) for r in responses] == [("9", request.parameters)] * 2
    assert (server.metadata["x-id"], server.metadata["x-bin"]) == ("5", b"\0")


@pytest.mark.parametrize(("retries", "asked"), [(3, 3), (0, 1)])
async def test_unavailable_is_retried_as_other_calls_are(server, retries, asked):
    server.stream = [Refusal(grpc.StatusCode.UNAVAILABLE)]
    url = f"127.0.0.1:{server.port}"
    async with InferenceGRPCClient(url, retries=retries) as client:
        with pytest.raises(grpc.RpcError):
            await values(client.infer_stream(REQUEST))
    assert server.asked["ModelStreamInfer"] == asked


async def test_a_stream_that_has_begun_is_not_retried(server, client):
    server.stream = [of_triton(1), Refusal(grpc.StatusCode.UNAVAILABLE)]
    with pytest.raises(grpc.RpcError):
        await values(client.infer_stream(REQUEST))
    assert server.asked["ModelStreamInfer"] == 1


async def test_streams_and_calls_share_a_connection(server, client):
    server.stream = [Late(0.001, of_triton(number)) for number in range(20)]
    streams = [values(client.infer_stream(REQUEST)) for _ in range(20)]
    *found, live = await asyncio.gather(*streams, client.is_server_live())
    assert (found, live) == ([list(range(20))] * 20, True)


async def test_a_stream_is_one_line_of_log_without_any_value(server, client, caplog):
    caplog.set_level(logging.DEBUG, "sidecar.client")
    request = InferRequest("m", [InferInput("x", [1], "BYTES", ["s3cret"])])
    server.stream = [of_triton(1), of_triton(2)]
    await values(client.infer_stream(request, headers={"authorization": "Bearer s3cret"}))
    server.stream = [of_triton(1), failure("told to fail")]
    with pytest.raises(InferenceError):
        await values(client.infer_stream(request))
    server.stream = [of_triton(1), Silence()]
    async with contextlib.aclosing(client.infer_stream(request)) as stream:
        await anext(stream)
    ended, failed, cancelled = (record.getMessage() for record in caplog.records)
    assert " ModelStreamInfer OK in " in ended
    assert ended.endswith(f"; {request!r}; headers: authorization")
    assert " ModelStreamInfer error in the stream: told to fail in " in failed
    assert " ModelStreamInfer cancelled in " in cancelled
    assert "s3cret" not in caplog.text
