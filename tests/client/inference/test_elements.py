"""The elements of each datatype: values to raw bytes and back, and which are not valid."""

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.client import InvalidInput
from sidecar.client.inference.datatypes import DATATYPES, find
from sidecar.client.inference.elements import decode, encode
from tests.client.inference.strategies import ELEMENTS


@pytest.mark.parametrize(
    ("name", "values", "raw"),
    [
        ("BOOL", [True, False], "01 00"),
        ("INT8", [-128, 127], "80 7f"),
        ("INT16", [-2, 258], "fe ff 02 01"),
        ("INT32", [-1, 1], "ff ff ff ff 01 00 00 00"),
        ("INT64", [-(2**63)], "00 00 00 00 00 00 00 80"),
        ("UINT8", [255], "ff"),
        ("UINT16", [65535], "ff ff"),
        ("UINT32", [2**32 - 1], "ff ff ff ff"),
        ("UINT64", [2**64 - 1], "ff ff ff ff ff ff ff ff"),
        ("FP16", [1.0, -2.0], "00 3c 00 c0"),
        ("BF16", [1.0, -2.0, math.inf], "80 3f 00 c0 80 7f"),
        ("FP32", [1.0], "00 00 80 3f"),
        ("FP64", [-2.0], "00 00 00 00 00 00 00 c0"),
        ("BYTES", [b"ab", b"", b"\xff"], "02 00 00 00 61 62 00 00 00 00 01 00 00 00 ff"),
    ],
)
def test_values_are_these_bytes_and_the_bytes_those_values(name, values, raw):
    assert encode(find(name), values) == bytes.fromhex(raw)
    assert decode(find(name), bytes.fromhex(raw)) == values


def test_text_is_sent_as_utf8():
    assert encode(find("BYTES"), ["\u00e9", bytearray(b"x")]) == b"\x02\0\0\0\xc3\xa9\x01\0\0\0x"


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (1.00390625, 0x3F80),  # in the middle: to the even one below
        (1.01171875, 0x3F82),  # in the middle: to the even one above
        (1.004, 0x3F81),
        (-1.004, 0xBF81),
        (3.3895313892515355e38, 0x7F7F),  # the largest
        (1e-45, 0x0000),
    ],
)
def test_bf16_is_the_nearest(value, bits):
    assert struct.unpack("<H", encode(find("BF16"), [value])) == (bits,)


def test_a_nan_stays_one():
    for name in ("FP16", "BF16", "FP32", "FP64"):
        (value,) = decode(find(name), encode(find(name), [math.nan]))
        assert math.isnan(value)
    # All of its bits are where BF16 has none.
    assert decode(find("BF16"), encode(find("BF16"), [struct.unpack("<f", b"\1\0\x80\x7f")[0]]))


WHOLE = "whole numbers from"


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("INT8", [1, 300], f"element 1 is 300; INT8 takes {WHOLE} -128 to 127"),
        ("UINT8", [-1], f"element 0 is -1; UINT8 takes {WHOLE} 0 to 255"),
        ("INT16", [2**15], f"element 0 is 32768; INT16 takes {WHOLE} -32768 to 32767"),
        ("UINT64", [2**64], f"UINT64 takes {WHOLE} 0 to 18446744073709551615"),
        ("INT64", [1.5], "element 0 is 1.5; INT64 takes"),
        ("INT32", ["1"], "element 0 is '1'; INT32 takes"),
        ("INT32", [None], "element 0 is None; INT32 takes"),
        ("BOOL", [True, 2], "element 1 is 2; BOOL takes true or false"),
        ("BOOL", ["true"], "element 0 is 'true'; BOOL takes true or false"),
        ("FP16", [65520], "element 0 is 65520; FP16 takes numbers up to 65504"),
        ("BF16", [3.4e38], "element 0 is 3.4e+38; BF16 takes numbers up to 3.39e38"),
        ("FP32", [0, 1e39], "element 1 is 1e+39; FP32 takes numbers up to 3.4e38"),
        ("FP64", [10**400], "element 0 is 1000"),
        ("FP64", [[1]], "element 0 is [1]; FP64 takes numbers"),
        ("BYTES", [b"", 5], "given 5; BYTES takes bytes or text"),
        ("BYTES", ["\ud800"], "'\\ud800' cannot be written as UTF-8"),
    ],
)
def test_what_does_not_fit_is_named_with_what_would(name, values, reason):
    with pytest.raises(InvalidInput) as caught:
        encode(find(name), values)
    assert reason in caught.value.reason


def test_an_error_shows_no_whole_tensor():
    with pytest.raises(InvalidInput) as caught:
        encode(find("FP32"), ["x" * 10_000])
    assert len(caught.value.reason) < 150


@pytest.mark.parametrize(
    ("name", "raw", "reason"),
    [
        ("INT32", b"12345", "5 raw bytes are not a whole number of elements of 4 bytes"),
        ("BF16", b"1", "1 raw bytes are not a whole number of elements of 2 bytes"),
        ("BYTES", b"\x01\0\0\0ab", "raw BYTES are cut short in element 1"),
        ("BYTES", b"\x01\0\0\0a\x02\0\0\0b", "raw BYTES are cut short in element 1"),
        ("BYTES", b"\xff\xff\xff\xff", "raw BYTES are cut short in element 0"),
    ],
)
def test_raw_bytes_that_are_cut_short_are_refused(name, raw, reason):
    with pytest.raises(InvalidInput, match=reason):
        decode(find(name), raw)


@given(st.sampled_from(sorted(DATATYPES)).flatmap(lambda n: st.tuples(st.just(n), ELEMENTS[n])))
def test_values_survive_the_wire(case):
    name, values = case
    raw = encode(find(name), values)
    again = decode(find(name), raw)
    assert encode(find(name), again) == raw
    assert repr(again) == repr(values)  # NaN included


@given(st.sampled_from(sorted(DATATYPES)), st.binary(max_size=64))
def test_any_bytes_are_a_value_or_refused(name, raw):
    try:
        values = decode(find(name), raw)
    except InvalidInput:
        return
    assert isinstance(values, list)
