"""A response as message, as bytes and as JSON, there and back."""

import copy
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.client import InferOutput, InferResponse, InvalidInput, RequestedOutput
from sidecar.oip import messages
from tests.client.inference.foreign import foreign
from tests.client.inference.strategies import JSON, responses, stable
from tests.support import untyped


def full() -> InferResponse:
    return InferResponse(
        "17",
        "bert",
        [
            InferOutput("a", [2], "FP32", [1.5, 2], {"k": 0.5}),
            InferOutput("b", [1], "BYTES", [b"x"]),
        ],
        model_version="3",
        parameters={"big": 2**64 - 1},
    )


def test_everything_has_its_place_in_the_message():
    message = full().to_grpc()
    assert (message.model_name, message.model_version, message.id) == ("bert", "3", "17")
    assert message.parameters["big"].uint64_param == 2**64 - 1
    assert message.outputs[0].parameters["k"].double_param == 0.5
    assert list(message.outputs[0].contents.fp32_contents) == [1.5, 2]
    assert list(message.outputs[1].contents.bytes_contents) == [b"x"]


@pytest.mark.parametrize("binary", [True, False])
def test_raw_outputs_are_all_raw(binary):
    response = full()
    response.use_binary_outputs = binary
    if not binary:
        response.outputs = [*response.outputs, InferOutput("c", [1], "FP16", [1])]
    message = response.to_grpc()
    assert len(message.raw_output_contents) == len(message.outputs)
    assert not any(output.HasField("contents") for output in message.outputs)


@given(responses())
def test_any_response_survives_the_wire(response):
    data = response.to_grpc().SerializeToString()
    for given_ in (data, response.to_grpc(), foreign("ModelInferResponse").FromString(data)):
        again = InferResponse.from_grpc(given_)
        assert again == response
        assert stable(again.to_grpc()) == stable(response.to_grpc())


@given(responses(JSON))
def test_any_response_survives_json(response):
    document, length = response.to_rest()
    assert length is None
    assert InferResponse.from_rest(json.dumps(document)) == response


@given(responses(), st.binary(max_size=8), st.integers(0, 200))
def test_a_response_with_damage_is_read_or_refused(response, damage, place):
    data = response.to_grpc().SerializeToString()
    try:
        damaged = InferResponse.from_grpc(data[:place] + damage + data[place + len(damage) :])
        for tensor in damaged.outputs:
            tensor.as_numpy()
            copy.deepcopy(tensor)
    except InvalidInput:
        pass


def test_what_is_no_tensor_is_refused_whatever_the_form():
    for binary in (True, False):
        response = InferResponse("", "m", [untyped("x")], use_binary_outputs=binary)
        with pytest.raises(InvalidInput, match="given str where a tensor is expected"):
            response.to_grpc()


def test_values_are_plain_and_an_unknown_datatype_spoils_only_its_own_tensor():
    message = full().to_grpc()
    message.outputs.add(name="new", datatype="FP8", shape=[1]).contents.uint_contents.append(1)
    response = InferResponse.from_grpc(message)
    assert (response.parameters, response.outputs[0].parameters) == ({"big": 2**64 - 1}, {"k": 0.5})
    assert response.outputs[0].data == [1.5, 2]
    with pytest.raises(InvalidInput, match="tensor 'new': datatype 'FP8' is unknown"):
        response.outputs[2].as_numpy()


def test_raw_outputs_are_read_from_the_bytes_without_a_copy():
    array = np.arange(10_000, dtype="f4")
    sent = InferResponse("", "m", [InferOutput("x", [10_000], "FP32", array)]).to_grpc()
    data = sent.SerializeToString()
    response = InferResponse.from_grpc(data)
    assert response.use_binary_outputs
    assert np.array_equal(response.outputs[0].as_numpy(), array)
    assert np.shares_memory(response.outputs[0].as_numpy(), np.frombuffer(data, "u1"))


def test_raw_outputs_belong_to_the_outputs_in_turn():
    response = InferResponse("", "m", [InferOutput("x", [1], "UINT8")], raw_outputs=[b"a"])
    assert untyped(response.get_output_by_name("x")).data == [97]
    assert response.get_output_by_name("y") is None


def test_an_unreadable_response_is_refused():
    with pytest.raises(InvalidInput, match="not a ModelInferResponse: "):
        InferResponse.from_grpc(b"\xff\xff")
    with pytest.raises(InvalidInput, match="given ModelReadyResponse; allowed: ModelInferResponse"):
        InferResponse.from_grpc(messages.ModelReadyResponse())


def test_the_json_form_is_this():
    assert full().to_rest() == (
        {
            "id": "17",
            "model_name": "bert",
            "model_version": "3",
            "outputs": [
                {
                    "name": "a",
                    "shape": [2],
                    "datatype": "FP32",
                    "parameters": {"k": 0.5},
                    "data": [1.5, 2],
                },
                {"name": "b", "shape": [1], "datatype": "BYTES", "data": ["x"]},
            ],
            "parameters": {"big": 2**64 - 1},
        },
        None,
    )


ONE = {"name": "x", "shape": [1], "datatype": "INT8", "data": [1]}


def test_parameters_that_are_null_are_left_out_at_every_level():
    null = {"content_type": None, "k": 1}
    body = {"model_name": "m", "outputs": [{**ONE, "parameters": null}], "parameters": null}
    for form in (body, json.dumps(body)):
        response = InferResponse.from_rest(untyped(form))
        assert [owner.parameters for owner in (response, *response.outputs)] == [{"k": 1}] * 2
        assert InferResponse.from_grpc(response.to_grpc()) == response
        assert InferResponse.from_rest(response.to_rest()[0]) == response


@pytest.mark.parametrize("parameters", [None, {}, {"content_type": None}])
def test_what_came_without_parameters_has_an_empty_mapping(parameters):
    absent = {} if parameters == {} else {"parameters": parameters}
    read = InferResponse.from_rest({"outputs": [ONE | absent]} | absent)
    for response in (read, InferResponse.from_grpc(read.to_grpc())):
        assert [owner.parameters for owner in (response, *response.outputs)] == [{}] * 2
        assert response.parameters is not response.outputs[0].parameters
    assert read == InferResponse(None, "", [InferOutput("x", [1], "INT8", [1])])


def test_requested_outputs_choose_and_order_those_of_the_json_form():
    response = full()
    response.requested_outputs = [RequestedOutput("b"), RequestedOutput("a")]
    document, _ = response.to_rest()
    assert [output["name"] for output in document["outputs"]] == ["b", "a"]
    response.requested_outputs = [RequestedOutput("z")]
    with pytest.raises(InvalidInput, match="output 'z' is not among 'a', 'b'"):
        response.to_rest()


def test_responses_differ_by_anything_that_is_sent():
    assert full() == full()
    changes: dict[str, object] = {
        "id": "18",
        "model_name": "gpt",
        "model_version": None,
        "parameters": None,
        "outputs": [],
    }
    for name, value in changes.items():
        other = full()
        setattr(other, name, value)
        assert other != full()
    assert full() != "full"


def test_its_form_for_people_and_its_dictionary():
    response = InferResponse("1", "m", [InferOutput("a", [1], "FP32", [2])])
    assert repr(response) == (
        "InferResponse(model_name='m', model_version=None, id='1',"
        " outputs=[InferOutput(name='a', datatype='FP32', shape=[1])])"
    )
    assert response.to_dict() == {
        "id": "1",
        "model_name": "m",
        "model_version": None,
        "outputs": [response.outputs[0].to_dict()],
        "parameters": None,
        "from_grpc": False,
    }
