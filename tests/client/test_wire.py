"""Raw entries that the client writes and finds itself are the same as protobuf's, to the byte."""

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from sidecar.client import wire
from sidecar.oip import messages
from tests.support import untyped

FIELD = messages.ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER
SIZES = (0, 1, 127, 128, 16_383, 16_384)

raws = st.lists(st.binary(max_size=20), max_size=4)


def response(*raw: bytes) -> messages.ModelInferResponse:
    return messages.ModelInferResponse(
        model_name="m",
        outputs=[{"name": "x", "shape": [1]}],
        raw_output_contents=raw,
    )


@pytest.mark.parametrize("size", SIZES)
def test_entries_put_behind_a_message_are_read_by_protobuf(size):
    data = wire.join(response(), FIELD, [b"a" * size, memoryview(b"b")])
    assert messages.ModelInferResponse.FromString(data) == response(b"a" * size, b"b")


@pytest.mark.parametrize("size", SIZES)
def test_entries_written_by_protobuf_are_found_and_not_copied(size):
    data = response(b"a" * size, b"b").SerializeToString()
    rest, found = wire.split(data, FIELD)
    assert messages.ModelInferResponse.FromString(rest) == response()
    assert [bytes(raw) for raw in found] == [b"a" * size, b"b"]
    assert {untyped(raw).obj is data for raw in found} == {True}


def test_a_reply_of_endless_numbers_is_left_to_protobuf_at_once():
    data = b"\xff" * 1_000_000
    assert wire.split(data, FIELD) == (data, [])


def test_a_message_without_entries_stays_as_it_is():
    data = response().SerializeToString()
    rest, found = wire.split(data, FIELD)
    assert rest is data
    assert found == []


@given(raws, raws)
def test_the_order_of_the_fields_does_not_matter(first, second):
    parts = [response().SerializeToString(), response(*second).SerializeToString()]
    data = response(*first).SerializeToString() + parts[0] + parts[1]
    rest, found = wire.split(data, FIELD)
    whole = messages.ModelInferResponse.FromString(data)
    assert [bytes(raw) for raw in found] == list(whole.raw_output_contents)
    whole.ClearField("raw_output_contents")
    assert messages.ModelInferResponse.FromString(rest) == whole


@pytest.mark.parametrize(
    "extra",
    [
        b"\x78\x01",  # field 15, a number
        b"\x7d\x01\x02\x03\x04",  # field 15, four bytes
        b"\x7b\x7c",  # field 15, a group
    ],
)
def test_what_is_not_understood_is_left_to_protobuf(extra):
    data = response(b"raw").SerializeToString() + extra
    rest, found = wire.split(data, FIELD)
    assert (rest, found) == (data, [])
    assert list(messages.ModelInferResponse.FromString(rest).raw_output_contents) == [b"raw"]


@given(st.binary(max_size=60))
def test_bytes_that_are_no_message_are_refused_and_others_read_as_protobuf_does(data):
    rest, found = wire.split(data, FIELD)
    try:
        whole = messages.ModelInferResponse.FromString(data)
    except DecodeError:
        with pytest.raises(DecodeError):
            messages.ModelInferResponse.FromString(rest)
        return
    message = messages.ModelInferResponse.FromString(rest)
    message.raw_output_contents.extend(map(bytes, found))
    assert message == whole
