"""Requests and expectations in V2 JSON."""

import json

import pytest

from sidecar.client.inference.request import InferRequest
from sidecar.payloads.given import Given

REQUEST = {
    "id": "of the file",
    "parameters": {"priority": 1},
    "inputs": [
        {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [[0.5, 2]]},
        {"name": "t", "shape": [1], "datatype": "BYTES", "data": ["hello"]},
    ],
    "outputs": [{"name": "y"}],
}


@pytest.mark.parametrize("body", [REQUEST, json.dumps(REQUEST).encode()], ids=["mapping", "JSON"])
def test_a_request_goes_out_as_it_is_given_with_an_id_of_its_own(body):
    sent = InferRequest.from_grpc(Given(body).request("bert", "3", "one").to_bytes())
    assert (sent.model_name, sent.model_version, sent.id) == ("bert", "3", "one")
    assert sent.parameters == {"priority": 1}
    assert [output.name for output in sent.request_outputs or ()] == ["y"]
    x, t = sent.inputs
    assert (x.shape, list(x.to_list())) == ([1, 2], [0.5, 2])
    assert t.as_string() == ["hello"]


def test_its_contents_are_typed():
    message = Given(REQUEST).request("m", "", "1").to_grpc()
    assert list(message.raw_input_contents) == []
    assert list(message.inputs[0].contents.fp32_contents) == [0.5, 2]


def test_two_are_equal_when_they_are_given_alike():
    assert Given(REQUEST) == Given(dict(REQUEST))
    assert Given(REQUEST) != Given({**REQUEST, "id": "other"})
    assert Given(REQUEST, {"outputs": [{"name": "y", "data": [1]}]}) != Given(REQUEST)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "not a request in V2 JSON: the body is not JSON"),
        (b"[]", "not a request in V2 JSON: given list; a JSON object is expected"),
        ({}, "not a request in V2 JSON: it has no inputs"),
        ({"inputs": [{"name": "x"}]}, "not a request in V2 JSON: tensor 'x'"),
        (
            {"inputs": [{"name": "x", "shape": [3], "datatype": "INT8", "data": [1]}]},
            "not a request in V2 JSON: tensor 'x': 1 elements",
        ),
        (
            {"inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": [999]}]},
            "not a request in V2 JSON: tensor 'x'",
        ),
    ],
)
def test_a_request_that_is_none_is_refused_and_says_why(body, reason):
    with pytest.raises(ValueError, match=r"not a request") as error:
        Given(body)
    assert str(error.value).startswith(reason)


@pytest.mark.parametrize(
    ("expected", "reason"),
    [
        (b"no", "not an expectation in V2 JSON: the body is not JSON"),
        ({"outputs": []}, "not an expectation in V2 JSON: it has no outputs"),
        ({"outputs": [{"name": "y"}]}, "not an expectation in V2 JSON: no `data` in y"),
        ({"outputs": {}}, "not an expectation in V2 JSON: outputs is not a list"),
    ],
)
def test_an_expectation_that_is_none_is_refused_and_says_why(expected, reason):
    with pytest.raises(ValueError, match=r"not an expectation") as error:
        Given(REQUEST, expected)
    assert str(error.value).startswith(reason)
