"""The elements of a tensor: Python values to the protocol's raw bytes and back.

Raw bytes are little-endian and row-major without padding. An element of BYTES
is its length in four bytes, followed by its content. Source: the Open Inference
Protocol, "tensor data".
"""

import struct
from collections.abc import Sequence
from typing import Any

from sidecar.client.errors import InvalidInput, shown
from sidecar.client.inference import bfloat16
from sidecar.client.inference.datatypes import DATATYPES, Datatype
from sidecar.client.wire import Buffer

LENGTH = struct.Struct("<I")

# What `struct` and comparisons raise for a value that is not valid.
NOT_VALID = (struct.error, OverflowError, TypeError, ValueError)


def encode(datatype: Datatype, values: Sequence[Any]) -> bytes:
    """Return a flat list of values as raw bytes.

    Raises InvalidInput, which names the first element that is not valid.
    """
    if datatype.size is None:
        return join(to_bytes(values))
    try:
        return _pack(datatype, values)
    except NOT_VALID:
        raise InvalidInput(_first_invalid(datatype, values)) from None


def decode(datatype: Datatype, raw: Buffer) -> list[Any]:
    """Return raw bytes as a flat list of bool, int or float; of bytes for BYTES.

    Raises InvalidInput if the bytes are not a whole number of elements.
    """
    if datatype.size is None:
        return split(raw)
    count, rest = divmod(len(raw), datatype.size)
    if rest:
        raise InvalidInput(
            f"{len(raw)} raw bytes are not a whole number of elements of {datatype.size} bytes"
        )
    if datatype.name == "BF16":
        raw = bfloat16.to_fp32(raw)
    return list(struct.unpack(f"<{count}{datatype.code}", raw))


def plain(datatype: Datatype, values: Sequence[Any]) -> Sequence[Any]:
    """Return a flat list of values as bool, int or float, as the datatype needs; not for BYTES.

    A value of another type, such as True for an INT8 or a numpy scalar, is
    converted. Raises InvalidInput, which names the first element that is not
    valid.
    """
    raw = encode(datatype, values)
    own = {bool} if datatype.code == "?" else {int, float} if datatype.code in "efd" else {int}
    return values if set(map(type, values)) <= own else decode(datatype, raw)


def _pack(datatype: Datatype, values: Sequence[Any]) -> bytes:
    if datatype.name == "BOOL" and not all(value in (0, 1) for value in values):
        raise ValueError("neither true nor false")  # struct accepts any object as a bool
    raw = struct.pack(f"<{len(values)}{datatype.code}", *values)
    return bfloat16.from_fp32(raw) if datatype.name == "BF16" else raw


def _first_invalid(datatype: Datatype, values: Sequence[Any]) -> str:
    number, value = next(pair for pair in enumerate(values) if not _is_valid(datatype, pair[1]))
    return f"element {number} is {shown(value)}; {datatype.name} takes {datatype.allowed}"


def _is_valid(datatype: Datatype, value: object) -> bool:
    try:
        _pack(datatype, [value])
    except NOT_VALID:
        return False
    return True


def to_bytes(values: Sequence[Any]) -> list[bytes]:
    """Return the elements of a BYTES tensor as bytes; a str is encoded as UTF-8.

    Raises InvalidInput for an element that is neither str nor bytes-like, or
    that cannot be encoded.
    """
    if {*map(type, values)} <= {bytes}:
        return list(values)
    return [value if type(value) is bytes else _to_bytes(value) for value in values]


def to_text(values: Sequence[Any]) -> list[str]:
    """Return the elements of a BYTES tensor as str. Raises InvalidInput if one is not UTF-8."""
    try:
        return [element.decode() for element in to_bytes(values)]
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{shown(error.object)} is not UTF-8") from None


def _to_bytes(value: object) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError:
            raise InvalidInput(f"{shown(value)} cannot be written as UTF-8") from None
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise InvalidInput(f"given {shown(value)}; BYTES takes {DATATYPES['BYTES'].allowed}")


def join(elements: Sequence[bytes]) -> bytes:
    """Return the elements of a BYTES tensor as raw bytes."""
    # Without a loop in Python, which would take twice as long.
    parts = [b""] * (2 * len(elements))
    parts[::2] = map(LENGTH.pack, map(len, elements))
    parts[1::2] = elements
    return b"".join(parts)


def split(raw: Buffer) -> list[bytes]:
    """Return the elements of a BYTES tensor. Raises InvalidInput if the last one is cut short."""
    data = raw if isinstance(raw, bytes) else bytes(raw)
    read, total = LENGTH.unpack_from, len(data)
    elements: list[bytes] = []
    end = 0
    try:
        while end < total:
            (length,) = read(data, end)
            start = end + 4
            end = start + length
            elements.append(data[start:end])
    except struct.error:
        raise _cut_short(len(elements)) from None
    if end > total:
        raise _cut_short(len(elements) - 1)
    return elements


def _cut_short(element: int) -> InvalidInput:
    return InvalidInput(f"raw BYTES are cut short in element {element}")
