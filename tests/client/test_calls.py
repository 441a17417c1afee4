"""Inference and descriptions over real gRPC: every datatype, errors, headers, big tensors, logs."""

import asyncio
import logging
import os
import pickle

import grpc
import numpy as np
import pytest

from sidecar.client import (
    InferenceGRPCClient,
    InferInput,
    InferOutput,
    InferRequest,
    InferResponse,
    InvalidInput,
    ModelIndex,
    ModelMetadata,
    ServerMetadata,
    TensorMetadata,
)
from sidecar.demo.server import Refusal, Silence
from tests.client.inference.foreign import foreign
from tests.client.inference.test_tensors import ARRAYS
from tests.support import eventually, untyped


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(("datatype", "array"), ARRAYS)
async def test_every_datatype_comes_back_raw_and_typed(client, datatype, array, binary):
    tensor = InferInput("x", [2], datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    response = await client.infer(InferRequest("m", [tensor], request_id="7", model_version="2"))
    assert (response.id, response.model_name, response.model_version) == ("7", "m", "2")
    assert response.get_output_by_name("x").as_numpy().tolist() == array.tolist()


@pytest.mark.parametrize("size", [0, 1, 8 * 2**20])
async def test_tensors_of_any_size_pass_though_grpcs_own_limit_is_4_mb(client, size):
    array = np.frombuffer(os.urandom(size), "u1")
    response = await client.infer(InferRequest("m", [InferInput("x", [size], "UINT8", array)]))
    assert np.array_equal(response.outputs[0].as_numpy(), array)


async def test_a_limit_on_message_sizes_that_the_caller_sets_holds(server):
    args = [("grpc.max_receive_message_length", 1000)]
    url = f"127.0.0.1:{server.port}"
    async with InferenceGRPCClient(url, channel_args=args) as client:
        with pytest.raises(grpc.RpcError) as caught:
            await client.infer(InferRequest("m", [InferInput("x", [2000], "BOOL", [True] * 2000)]))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("package", ["ours", "another's"])
async def test_a_message_is_sent_as_it_is(server, client, package):
    message = InferRequest("m", [InferInput("x", [1], "FP32", [1])]).to_grpc()
    if package != "ours":
        message = untyped(foreign("ModelInferRequest").FromString(message.SerializeToString()))
    response = await client.infer(message)
    assert response.outputs == [InferOutput("x", [1], "FP32", [1])]
    assert server.requests["ModelInfer"] == message.SerializeToString()


async def test_anything_else_is_refused_and_nothing_is_sent(server, client):
    for other in (None, "m", foreign("ModelReadyRequest")(), InferResponse("", "m", [])):
        with pytest.raises(InvalidInput, match="allowed: InferRequest, ModelInferRequest"):
            await client.infer(untyped(other))
    with pytest.raises(InvalidInput, match="tensor 'x': it has no data"):
        await client.infer(InferRequest("m", [InferInput("x", [1], "FP32")]))
    with pytest.raises(InvalidInput, match="name 5 is not a str"):
        await client.is_model_ready(5)
    for timeout in ("soon", {"authorization": "Bearer s3cret"}, float("nan")):
        with pytest.raises(InvalidInput, match="is neither a number of seconds") as caught:
            await client.infer(InferRequest("m", []), untyped(timeout))
        assert "s3cret" not in caught.value.reason
    assert not server.requests


def test_a_timeout_that_is_none_is_refused_at_once():
    with pytest.raises(InvalidInput, match="a timeout of type str is neither"):
        InferenceGRPCClient("localhost:1", timeout=untyped("60"))


async def test_a_reply_that_is_no_message_is_an_rpc_error(server, client):
    server.replies["ModelInfer"] = b"\xff\xff"
    with pytest.raises(grpc.RpcError) as caught:
        await client.infer(InferRequest("m", []))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "the reply to ModelInfer cannot be parsed: " in str(caught.value.details())


async def test_a_reply_with_a_bad_tensor_is_invalid_input_with_its_name(server, client):
    tensor = InferOutput("y", [1], "FP32", [1])
    message = InferResponse("", "m", [tensor], use_binary_outputs=True).to_grpc()
    message.raw_output_contents[0] = b"123"
    server.replies["ModelInfer"] = message.SerializeToString()
    with pytest.raises(InvalidInput, match="tensor 'y': 3 raw bytes; FP32 of shape"):
        await client.infer(InferRequest("m", []))


@pytest.mark.parametrize("seconds", [np.int64(60), np.float32(60), float("inf"), 1e20, 10**400])
async def test_a_timeout_may_be_any_number_of_seconds(client, seconds):
    assert await client.is_server_live(timeout=seconds)


async def test_parameters_and_headers_arrive(server, client):
    request = InferRequest("m", [], parameters={"big": 2**64 - 1, "half": 0.5, "s": "x", "b": True})
    response = await client.infer(request, headers=[("x-id", "5"), ("x-bin", b"\0")])
    assert response.parameters == request.parameters
    assert (server.metadata["x-id"], server.metadata["x-bin"]) == ("5", b"\0")


async def test_a_server_and_its_models_describe_themselves(client):
    assert await client.server_metadata() == ServerMetadata("echo", "1", ("a", "b"))
    size = (TensorMetadata("x", "FP32", (-1,)),)
    described = await client.model_metadata("m", "3")
    assert described == ModelMetadata("m", ("3",), "none", size, size)
    ready = ModelIndex("m", "1", "READY", "")
    assert await client.repository_index() == (ready, ModelIndex("n", "", "UNAVAILABLE", "why"))
    assert await client.repository_index(ready=True) == (ready,)
    assert pickle.loads(pickle.dumps(described)) == described


async def test_a_call_is_one_line_of_log_without_any_value(server, caplog):
    caplog.set_level(logging.DEBUG, "sidecar.client")
    request = InferRequest(
        "m", [InferInput("x", [1], "BYTES", ["s3cret"])], parameters={"token": "s3cret"}
    )
    headers: dict[str, str | bytes] = {"authorization": "Bearer s3cret", "x-bin": b"s3cret"}
    async with InferenceGRPCClient(f"127.0.0.1:{server.port}", verbose=True) as client:
        await client.infer(request, headers=headers)
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    line = record.getMessage()
    assert f"127.0.0.1:{server.port} ModelInfer OK in " in line
    assert line.endswith(f"; {request!r}; headers: authorization, x-bin")
    assert "s3cret" not in line


async def test_a_refused_reply_and_a_cancelled_call_are_lines_of_log_too(server, client, caplog):
    caplog.set_level(logging.DEBUG, "sidecar.client")
    tensor = InferOutput("y", [1], "FP32", [1])
    message = InferResponse("", "m", [tensor], use_binary_outputs=True).to_grpc()
    message.raw_output_contents[0] = b"123"
    server.replies["ModelInfer"] = message.SerializeToString()
    with pytest.raises(InvalidInput):
        await client.infer(InferRequest("m", []))
    server.live = Silence()
    call = asyncio.create_task(client.is_server_live())
    await eventually(lambda: server.asked["ServerLive"])
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    first, second = (record.getMessage() for record in caplog.records)
    assert "ModelInfer invalid response: tensor 'y': 3 raw bytes" in first
    assert "ServerLive cancelled in " in second


async def test_the_servers_text_breaks_no_line_of_log(server, client, caplog):
    caplog.set_level(logging.DEBUG, "sidecar.client")
    server.live = Refusal(grpc.StatusCode.INTERNAL, "no\nINFO all is well")
    with pytest.raises(grpc.RpcError):
        await client.is_server_live()
    (record,) = caplog.records
    assert "INTERNAL: no INFO all is well" in record.getMessage()
