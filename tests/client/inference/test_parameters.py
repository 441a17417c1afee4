"""Parameters are plain Python values, and each has its member of InferParameter."""

import copy
import pickle

import numpy as np
import pytest

from sidecar.client import (
    InferInput,
    InferOutput,
    InferRequest,
    InferResponse,
    InvalidInput,
    RequestedOutput,
)
from sidecar.client.inference import parameters
from sidecar.oip import messages
from tests.client.inference.foreign import foreign


def sent(given):
    message = messages.ModelInferRequest()
    parameters.write(message.parameters, given)
    return message.parameters


@pytest.mark.parametrize(
    ("value", "member"),
    [
        (True, "bool_param"),
        (1, "int64_param"),
        (-(2**63), "int64_param"),
        (2**63 - 1, "int64_param"),
        (2**63, "uint64_param"),
        (2**64 - 1, "uint64_param"),
        (1.5, "double_param"),
        (float("inf"), "double_param"),
        ("x", "string_param"),
        ("", "string_param"),
        (0, "int64_param"),
    ],
)
def test_a_value_has_its_own_member_and_comes_back(value, member):
    field = sent({"p": value})
    assert field["p"].WhichOneof("parameter_choice") == member
    back = parameters.read(field)
    assert back == {"p": value}
    assert type(back["p"]) is type(value)


@pytest.mark.parametrize(
    ("scalar", "plain"),
    [
        (np.float32(1.5), 1.5),
        (np.int16(-3), -3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.True_, True),
        (messages.InferParameter(double_param=0.5), 0.5),
    ],
)
def test_a_scalar_of_numpys_and_a_message_are_taken_too(scalar, plain):
    assert parameters.read(sent({"p": scalar})) == {"p": plain}


def test_a_parameter_without_a_value_is_left_out():
    field = sent({"p": 1})
    field["q"].SetInParent()
    assert parameters.read(field) == {"p": 1}
    field = messages.ModelInferRequest().parameters
    field["q"].SetInParent()
    assert parameters.read(field) == {}


@pytest.mark.parametrize("nothing", [None, {}])
def test_no_parameters_are_read_as_an_empty_mapping(nothing):
    assert parameters.read(sent(nothing)) == {}


def message(package, **member):
    return package("InferParameter")(**member)


def ours(name):
    return getattr(messages, name)


EVERYWHERE = [
    RequestedOutput("o"),
    InferInput("x", [0], "FP32", []),
    InferOutput("x", [0], "FP32", []),
    InferRequest("m", []),
    InferResponse("", "m", []),
]


@pytest.mark.parametrize("package", [ours, foreign])
@pytest.mark.parametrize("owner", EVERYWHERE, ids=lambda owner: type(owner).__name__)
def test_messages_as_values_become_plain_values_wherever_they_are_given(owner, package):
    given = {
        "a": message(package, bool_param=True),
        "b": message(package, double_param=0.5),
        "c": message(package, uint64_param=2**64 - 1),
        "empty": message(package),
        "plain": "x",
    }
    plain = {"a": True, "b": 0.5, "c": 2**64 - 1, "plain": "x"}
    copied = copy.copy(owner)
    copied.parameters = given
    assert copied.parameters == plain
    assert "empty" in given  # the caller's own is left alone
    other = copy.copy(owner)
    other.parameters = plain
    assert other.parameters is plain
    assert copied == other
    other.parameters["b"] = given["b"]
    assert copied == other
    assert pickle.loads(pickle.dumps(copied)) == copied == copy.deepcopy(copied)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: RequestedOutput("o", p),
        lambda p: InferInput("x", [0], "FP32", [], p),
        lambda p: InferOutput("x", [0], "FP32", [], p),
        lambda p: InferRequest("m", [], parameters=p),
        lambda p: InferResponse("", "m", [], parameters=p),
    ],
)
def test_the_parameters_of_a_message_may_be_given_to_a_constructor(make):
    field = messages.ModelInferRequest(parameters={"k": messages.InferParameter(int64_param=1)})
    assert make(field.parameters).parameters == {"k": 1}
    assert copy.deepcopy(make(messages.ModelInferRequest().parameters)).parameters == {}
    assert make(None).parameters is None


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"p": None}, "parameter 'p': given NoneType; allowed: bool, int, float, str"),
        ({"p": [1]}, "parameter 'p': given list"),
        ({"p": b"x"}, "parameter 'p': given bytes"),
        ({"p": 2**64}, "parameter 'p': an int is from -2\\*\\*63 to 2\\*\\*64 - 1"),
        ({"p": -(2**63) - 1}, "parameter 'p': an int is from"),
        ({"p": "\ud800"}, "parameter 'p' cannot be written as UTF-8"),
        ({"\ud800": 1}, "parameter '.ud800' cannot be written as UTF-8"),
        ({5: 1}, "parameter 5: the name is not a str"),
        ({"p": messages.InferParameter()}, "parameter 'p': given NoneType"),
        ({"p": np.zeros(2)}, "parameter 'p': given ndarray"),
        ({"p": np.ma.masked}, "parameter 'p': given MaskedConstant"),
        ({"p": np.ma.array(5, mask=True)}, "parameter 'p': given MaskedArray"),
    ],
)
def test_what_has_no_member_is_refused_by_name(given, reason):
    with pytest.raises(InvalidInput, match=reason):
        sent(given)
