"""One message of a stream: Triton's wrapped response or MLServer's bare one, told apart."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sidecar.client import InferenceError, InferOutput, InferResponse, InvalidInput
from sidecar.client.inference import streamed
from sidecar.oip import messages
from tests.client.inference.strategies import responses, text
from tests.support import untyped

# As a server has them: only empty messages, or texts that pass for one, are in doubt.
names = text.filter(bool)
versions = st.one_of(text, st.sampled_from(["", "1", "2", "00", "01", "80", "3.1", "0\n", "\n\0"]))


def wrap(response: InferResponse | None, error: str = "") -> bytes:
    """A message of Triton's."""
    message = messages.ModelStreamInferResponse(error_message=error)
    if response is not None:
        message.infer_response.CopyFrom(response.to_grpc())
    return message.SerializeToString()


@given(responses(), names, versions)
def test_a_wrapped_response_is_read_whatever_model_was_asked(response, name, version):
    response.model_name, response.model_version = name, version
    for asked in (name, "", "other"):
        assert streamed.read(wrap(response), asked) == response


@given(responses(), names, versions)
def test_a_bare_response_of_the_model_that_was_asked_is_read(response, name, version):
    response.model_name, response.model_version = name, version
    assert streamed.read(response.to_grpc().SerializeToString(), name) == response


@given(responses(), names, versions, st.text(max_size=8))
def test_a_bare_response_of_another_name_is_read_if_it_holds_anything(
    response, name, version, asked
):
    response.model_name, response.model_version = name, version
    assume(response.id or response.parameters or response.outputs)
    assert streamed.read(response.to_grpc().SerializeToString(), asked) == response


@pytest.mark.parametrize("version", ["1", "2", "12", "1.0", "v1", "2026-11-26", "latest", "7b"])
def test_so_is_an_empty_one_whose_version_is_no_message(version):
    empty = InferResponse("", "m", [], model_version=version)
    assert streamed.read(empty.to_grpc().SerializeToString(), "other") == empty


@given(names, text, st.none() | responses(), st.booleans())
def test_an_error_message_is_an_inference_error_with_its_text(error, asked, response, empty):
    assume(error != asked)
    if response is not None and empty:  # as Triton sends it, with no more than the id
        response = InferResponse(response.id, "", [])
    with pytest.raises(InferenceError) as caught:
        streamed.read(wrap(response, error), asked)
    assert (caught.value.reason, str(caught.value)) == (error, error)


# What Triton 2.51 and MLServer 1.7.1 sent, byte for byte.
TRITON = (
    b'\n\x0ctold to fail\x12 \n\x01s"\x1b\n\x15triton_final_response\x12\x02\x08\x00',
    b"\n-Request for unknown model: 'zzz' is not found\x12\x00",
    b"\n-Request for unknown model: 'zzz' is not found\x12\x03\x1a\x019",
)
MLSERVER = b"\n\x01s*\x0f\n\x01x\x12\x05INT32\x1a\x01\x01*\x002\x04\x05\x00\x00\x00"


@pytest.mark.parametrize("data", TRITON)
def test_errors_of_triton_are_read(data):
    with pytest.raises(InferenceError, match=r"told to fail|unknown model: 'zzz' is not found"):
        streamed.read(data, "s")


def test_a_response_of_mlserver_is_read():
    expected = InferResponse("", "s", [InferOutput("x", [1], "INT32", [5])])
    assert streamed.read(MLSERVER, "s") == expected


def test_text_that_is_no_utf8_is_an_error_message_too():
    with pytest.raises(InferenceError, match="caf\N{REPLACEMENT CHARACTER}"):
        streamed.read(b"\n\x04caf\xc3", "m")


@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize("outputs", [[], [InferOutput("x", [1], "INT32", [5])]])
def test_only_a_final_response_without_outputs_is_left_out(final, outputs):
    response = InferResponse("", "m", outputs, parameters={"triton_final_response": final})
    expected = None if final and not outputs else response
    assert streamed.read(wrap(response), "m") == expected


@given(st.binary(max_size=60), st.sampled_from(["", "m"]))
def test_any_bytes_are_a_response_or_refused(data, asked):
    try:
        response = streamed.read(data, asked)
    except (InvalidInput, InferenceError):
        return
    assert response is None or isinstance(response, InferResponse)


@pytest.mark.parametrize("form", ["wrapped", "bare"])
def test_large_raw_outputs_are_not_copied(form):
    array = np.arange(10_000, dtype="f4")
    sent = InferResponse("", "m", [InferOutput("x", [10_000], "FP32", array)])
    data = wrap(sent) if form == "wrapped" else sent.to_grpc().SerializeToString()
    response = streamed.read(data, "m")
    assert response == sent
    assert np.shares_memory(untyped(response).outputs[0].as_numpy(), np.frombuffer(data, "u1"))


def test_a_response_in_several_parts_is_one():
    first, second = (InferResponse("", "m", [InferOutput(n, [0], "FP32", [])]) for n in "xy")
    response = streamed.read(wrap(first) + wrap(second), "m")
    assert [output.name for output in untyped(response).outputs] == ["x", "y"]


@pytest.mark.parametrize("form", ["wrapped", "bare"])
@pytest.mark.parametrize("size", [1, 10_000])
def test_a_streamed_response_can_be_copied_pickled_and_sent_on(form, size):
    array = np.arange(size, dtype="f4")
    output = InferOutput("x", [size], "FP32", array, {"k": 1})
    sent = InferResponse("7", "m", [output], "1", parameters={"triton_final_response": False})
    data = wrap(sent) if form == "wrapped" else sent.to_grpc().SerializeToString()
    response = streamed.read(data, "m")
    assert response is not None
    assert response == sent
    for again in (
        copy.copy(response),
        copy.deepcopy(response),
        pickle.loads(pickle.dumps(response)),
        InferResponse.from_grpc(response.to_grpc()),
        InferResponse.from_rest(response.to_rest()[0]),
    ):
        assert again == response
        assert np.array_equal(again.outputs[0].as_numpy(), array)
