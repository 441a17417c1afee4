"""From a reply to a reason."""

import math

import pytest

from sidecar.client.inference.response import InferResponse
from sidecar.client.inference.tensors import InferOutput
from sidecar.payloads.given import Given
from sidecar.payloads.judge import judge

REQUEST = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": [1]}]}


def reply(datatype="FP32", data=(1.0, 2.0), name="y") -> InferResponse:
    output = InferOutput(name, [len(data)], datatype)
    output.data = list(data)
    message = InferResponse("1", "m", [output]).to_grpc()
    return InferResponse.from_grpc(message.SerializeToString())


def expecting(*outputs, tolerance=0.01) -> Given:
    return Given(REQUEST, {"outputs": list(outputs)}, tolerance)


@pytest.mark.parametrize("given", [None, Given(REQUEST)])
def test_without_an_expectation_a_whole_reply_will_do(given):
    assert judge([reply()], given) == ("ok", "")


def test_a_reply_without_outputs_is_an_error():
    empty = InferResponse("1", "m", [])
    assert judge([empty], None) == ("error", "the reply has no outputs")
    assert judge([], None)[0] == "error"


@pytest.mark.parametrize(
    ("datatype", "data", "expected"),
    [
        ("FP32", [1.0, 2.0], [1.005, 2]),
        ("FP64", [1000.0, 0.0], [1009, 0.009]),
        ("INT32", [1, 2], [1, 2]),
        ("BOOL", [True], [True]),
        ("BYTES", [b"\xc3\xa9"], ["é"]),
        ("FP32", [1.0, 2.0], [[1], [2]]),
    ],
)
def test_numbers_are_compared_within_the_tolerance_and_the_rest_by_equality(
    datatype, data, expected
):
    given = expecting({"name": "y", "data": expected})
    assert judge([reply(datatype, data)], given) == ("ok", "")


@pytest.mark.parametrize(
    ("datatype", "data", "expected", "text"),
    [
        ("FP32", [1.0, 2.0], [1, 2.1], "element 1 is 2.0, expected 2.1"),
        ("FP32", [math.nan], [math.nan], "element 0 is nan, expected nan"),
        ("INT32", [3], [4], "element 0 is 3, expected 4"),
        ("BYTES", [b"a"], ["b"], "element 0 is 'a', expected 'b'"),
        ("FP32", [1.0], [1, 2], "it has 1 elements, expected 2"),
    ],
)
def test_a_difference_is_named(datatype, data, expected, text):
    given = expecting({"name": "y", "data": expected})
    assert judge([reply(datatype, data)], given) == ("wrong_output", f"output 'y': {text}")


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ({"name": "z", "data": [1]}, "output 'z': it is missing"),
        (
            {"name": "y", "shape": [1, 2], "data": [1, 2]},
            "output 'y': its shape is [2], expected [1, 2]",
        ),
        (
            {"name": "y", "datatype": "FP64", "data": [1, 2]},
            "output 'y': its datatype is FP32, expected FP64",
        ),
    ],
)
def test_name_shape_and_datatype_are_compared_too(output, text):
    assert judge([reply()], expecting(output)) == ("wrong_output", text)


def test_text_that_is_none_is_a_wrong_output():
    given = expecting({"name": "y", "data": ["a"]})
    assert judge([reply("BYTES", [b"\xff"])], given)[0] == "wrong_output"


def test_of_a_stream_the_last_response_with_outputs_is_compared():
    last, empty = reply(data=[2.0]), InferResponse("1", "m", [])
    given = expecting({"name": "y", "data": [2]})
    assert judge([reply(data=[1.0]), last, empty], given) == ("ok", "")
