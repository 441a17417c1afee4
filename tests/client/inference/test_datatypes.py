"""The table of datatypes agrees with the protocol's messages and with Python's struct."""

import struct

import pytest

from sidecar.client import InvalidInput
from sidecar.client.inference.datatypes import DATATYPES, find
from sidecar.oip import messages


def test_an_unknown_datatype_is_named_with_the_known_ones():
    with pytest.raises(InvalidInput, match="datatype 'FP8' is unknown; known are BOOL, INT8"):
        find("FP8")


def test_each_field_is_one_of_the_protocols_and_each_of_those_is_used():
    fields = {field.name for field in messages.InferTensorContents.DESCRIPTOR.fields}
    assert {datatype.field for datatype in DATATYPES.values()} - {None} == fields


@pytest.mark.parametrize("name", sorted(DATATYPES.keys() - {"BF16", "BYTES"}))
def test_each_size_is_that_of_its_format_character(name):
    assert struct.calcsize(f"<{find(name).code}") == find(name).size
