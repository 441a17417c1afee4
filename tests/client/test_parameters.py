"""Parameters are plain Python values, and each has its member of InferParameter."""

import numpy as np
import pytest

from sidecar.client import InvalidInput
from sidecar.client.parameters import from_grpc, to_grpc
from sidecar.oip import messages


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
    sent = to_grpc({"p": value})
    assert sent["p"].WhichOneof("parameter_choice") == member
    back = from_grpc(sent)
    assert back == {"p": value}
    assert type(back["p"]) is type(value)


@pytest.mark.parametrize(
    ("scalar", "plain"),
    [
        (np.float32(1.5), 1.5),
        (np.int16(-3), -3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.True_, True),
    ],
)
def test_a_scalar_of_numpys_is_taken_too(scalar, plain):
    assert from_grpc(to_grpc({"p": scalar})) == {"p": plain}


def test_a_message_is_taken_too():
    assert from_grpc(to_grpc({"p": messages.InferParameter(double_param=0.5)})) == {"p": 0.5}


def test_none_and_nothing_are_none():
    assert to_grpc(None) == {}
    assert from_grpc({}) is None


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"p": None}, "parameter 'p': given NoneType; allowed: bool, float, str"),
        ({"p": [1]}, "parameter 'p': given list"),
        ({"p": b"x"}, "parameter 'p': given bytes"),
        ({"p": 2**64}, "int from -2\\*\\*63 to 2\\*\\*64 - 1"),
        ({"p": -(2**63) - 1}, "parameter 'p': given int"),
        ({"p": "\ud800"}, "parameter 'p': the text cannot be written as UTF-8"),
        ({5: 1}, "parameter 5: the name is not a str"),
        ({"p": messages.InferParameter()}, "parameter 'p': given NoneType"),
        ({"p": np.zeros(2)}, "parameter 'p': given ndarray"),
    ],
)
def test_what_has_no_member_is_refused_by_name(parameters, reason):
    with pytest.raises(InvalidInput, match=reason):
        to_grpc(parameters)
