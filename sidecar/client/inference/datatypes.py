"""The protocol's datatypes: the size of an element, its form on the wire, the values allowed.

Source: the Open Inference Protocol, "tensor data types" and InferTensorContents.
"""

import struct
from dataclasses import dataclass

from sidecar.client.errors import InvalidInput, shown


@dataclass(frozen=True, slots=True)
class Datatype:
    """One datatype.

    name:     its name in the protocol.
    size:     bytes of an element; None for BYTES, whose elements differ in size.
    code:     the element's format character in Python's `struct`.
    field:    the field of InferTensorContents that holds its elements; None if
              the protocol has none, so that it can only be sent as raw bytes.
    allowed:  which values an element can have, as error texts say it.
    """

    name: str
    size: int | None
    code: str
    field: str | None
    allowed: str


def _integer(name: str, code: str, field: str) -> Datatype:
    size = struct.calcsize("<" + code)
    low, high = (0, 256**size - 1) if code.isupper() else (-(256**size) // 2, 256**size // 2 - 1)
    return Datatype(name, size, code, field, f"whole numbers from {low} to {high}")


DATATYPES = {
    datatype.name: datatype
    for datatype in (
        Datatype("BOOL", 1, "?", "bool_contents", "true or false"),
        _integer("INT8", "b", "int_contents"),
        _integer("INT16", "h", "int_contents"),
        _integer("INT32", "i", "int_contents"),
        _integer("INT64", "q", "int64_contents"),
        _integer("UINT8", "B", "uint_contents"),
        _integer("UINT16", "H", "uint_contents"),
        _integer("UINT32", "I", "uint_contents"),
        _integer("UINT64", "Q", "uint64_contents"),
        Datatype("FP16", 2, "e", None, "numbers up to 65504"),
        Datatype("BF16", 2, "f", None, "numbers up to 3.39e38"),
        Datatype("FP32", 4, "f", "fp32_contents", "numbers up to 3.4e38"),
        Datatype("FP64", 8, "d", "fp64_contents", "numbers"),
        Datatype("BYTES", None, "", "bytes_contents", "bytes or text"),
    )
}


def find(name: str) -> Datatype:
    """Return the datatype of this name, in upper case.

    Raises InvalidInput, which lists the known names, if there is none.
    """
    datatype = DATATYPES.get(name)
    if datatype is None:
        raise InvalidInput(f"datatype {shown(name)} is unknown; known are {', '.join(DATATYPES)}")
    return datatype
