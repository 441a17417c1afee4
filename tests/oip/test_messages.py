"""The messages live in a pool of their own and speak the wire's own bytes."""

import os
import subprocess
import sys

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.internal import api_implementation

from sidecar.oip import SERVICE, messages
from sidecar.oip.messages import DESCRIPTOR


def test_the_service_has_the_protocols_name_and_calls():
    methods = {
        method.name: (method.input_type.name, method.output_type.name)
        for method in DESCRIPTOR.services_by_name["GRPCInferenceService"].methods
    }
    assert SERVICE == "inference.GRPCInferenceService"
    names = (
        "ServerLive ServerReady ModelReady ServerMetadata ModelMetadata RepositoryIndex ModelInfer"
        " ModelStatistics"
    )
    stream = {"ModelStreamInfer": ("ModelInferRequest", "ModelStreamInferResponse")}
    assert methods == stream | {
        name: (f"{name}Request", f"{name}Response") for name in names.split()
    }


def test_only_the_stream_streams_and_it_does_so_both_ways():
    streams = [
        (method.name, method.client_streaming, method.server_streaming)
        for method in FileDescriptorProto.FromString(DESCRIPTOR.serialized_pb).service[0].method
        if method.client_streaming or method.server_streaming
    ]
    assert streams == [("ModelStreamInfer", True, True)]


def test_protobuf_is_the_one_that_is_meant_to_be_tested():
    meant = os.environ.get("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION")
    assert api_implementation.Type() == (meant or "upb")


def test_nested_messages_are_where_the_types_say():
    tensor = messages.ModelInferRequest.InferInputTensor(name="x")
    assert messages.ModelInferRequest(inputs=[tensor]).inputs[0].name == "x"


def test_a_question_about_a_model_is_these_bytes():
    request = messages.ModelReadyRequest(name="bert", version="3")
    assert request.SerializeToString() == b"\x0a\x04bert\x12\x013"


@pytest.mark.parametrize(
    ("raw", "ready"), [(b"\x08\x01", True), (b"\x08\x00", False), (b"", False)]
)
def test_a_reply_is_read_from_bytes(raw, ready):
    assert messages.ModelReadyResponse.FromString(raw).ready is ready


@pytest.mark.parametrize(
    "reply",
    [
        b"\x32\x05\x0a\x03abc",  # MLServer's map of parameters, OIP's map of properties
        b"\x32\x02\xff\xfe",
    ],
)
def test_field_6_of_a_models_metadata_is_passed_over_whatever_it_holds(reply):
    assert messages.ModelMetadataResponse.FromString(b"\x0a\x01m" + reply).name == "m"


def test_a_parameter_has_all_five_members():
    choice = messages.InferParameter.DESCRIPTOR.oneofs_by_name["parameter_choice"]
    assert [field.name for field in choice.fields] == [
        f"{kind}_param" for kind in ("bool", "int64", "string", "double", "uint64")
    ]


def test_the_default_pool_is_left_to_others():
    assert messages.ModelReadyRequest.DESCRIPTOR.file.pool is not descriptor_pool.Default()
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("inference.ModelReadyRequest")


def test_the_messages_work_in_protobufs_pure_python_too():
    code = (
        "from sidecar.oip import messages as m;"
        "print(m.ModelReadyResponse.FromString(m.ModelReadyResponse(ready=True)"
        ".SerializeToString()).ready)"
    )
    environment = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "True"
