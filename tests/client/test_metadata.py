"""Headers are checked before anything is sent, and an error never shows a value."""

import grpc
import pytest

from sidecar.client import InvalidInput
from sidecar.client.metadata import to_metadata


@pytest.mark.parametrize(
    ("headers", "metadata"),
    [
        (None, ()),
        ([("a", "1"), ("a", "2")], (("a", "1"), ("a", "2"))),
        ({"authorization": "Bearer x"}, (("authorization", "Bearer x"),)),
        ((("trace-bin", b"\x00\xff"),), (("trace-bin", b"\x00\xff"),)),
        (grpc.aio.Metadata(("a", "1")), (("a", "1"),)),
    ],
)
def test_headers_become_metadata(headers, metadata):
    assert to_metadata(headers) == metadata


NAME = "the name of header 1 is not of lower-case letters"


@pytest.mark.parametrize(
    ("headers", "part"),
    [
        ([("Upper", "x")], NAME),
        (["ab"], "headers are (name, value) pairs or a mapping"),
        ([("a b", "x")], NAME),
        ([("authorization: Bearer secret", "")], NAME),
        ([("", "x")], NAME),
        ([(5, "x")], NAME),
        ([("grpc-timeout", "x")], "belong to gRPC"),
        ([("a", "s\u00e9cret")], "header 'a': a value is a str of printable ASCII"),
        ([("a", "secret\n")], "header 'a'"),
        ([("a", 5)], "header 'a'"),
        ([("a-bin", "secret")], "the value of a -bin header is bytes"),
        (["abc"], "pairs or a mapping"),
        ([("a", "b", "c")], "pairs or a mapping"),
        ("a=b", "pairs or a mapping"),
        (5, "pairs or a mapping"),
    ],
)
def test_headers_that_grpc_would_choke_on_are_refused_without_showing_their_value(headers, part):
    with pytest.raises(InvalidInput) as caught:
        to_metadata(headers)
    assert part in caught.value.reason
    assert "secret" not in caught.value.reason
