"""The protocol's datatypes: values to raw bytes and back, and the typed form of each.

Raw bytes are little-endian and row-major without padding; a BYTES element is
its length in four bytes and then itself. Source: the Open Inference Protocol,
"tensor data".
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

from sidecar.client.errors import InvalidInput, shown
from sidecar.client.wire import Buffer

LENGTH = struct.Struct("<I")

# A dimension's size is an int64 on the wire.
MAX_SIZE = 2**63 - 1

# FP32's infinity as a word, without the sign.
INFINITY = 0x7F800000

# What `struct` and Python's own comparisons raise for a value that does not fit.
MISFITS = (struct.error, OverflowError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Datatype:
    """One datatype.

    size:   bytes an element takes; None for BYTES, where it varies.
    code:   the element in the words of `struct`.
    field:  the member of InferTensorContents that holds it; None for what
            travels as raw bytes only.
    takes:  which values it takes, in words.
    """

    name: str
    size: int | None
    code: str
    field: str | None
    takes: str


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
    """The datatype of this name, or InvalidInput that lists those that there are."""
    datatype = DATATYPES.get(name)
    if datatype is None:
        raise InvalidInput(f"datatype {shown(name)} is unknown; known are {', '.join(DATATYPES)}")
    return datatype


def count(shape: Sequence[int]) -> int:
    """How many elements a shape has room for; InvalidInput when it is none."""
    elements = 1
    fits = isinstance(shape, list | tuple)
    try:
        for size in map(index, shape):
            elements *= size
            fits = fits and 0 <= size <= MAX_SIZE
    except TypeError:
        fits = False
    if not fits:
        raise InvalidInput(f"shape {shown(shape)} is not a list of sizes from 0")
    return elements


def check_count(elements: int, shape: Sequence[int]) -> None:
    """InvalidInput when these are not as many elements as the shape has room for."""
    if elements != (wanted := count(shape)):
        raise InvalidInput(f"{elements} elements; shape {shown(shape)} takes {wanted}")


def check_size(size: int, name: str, shape: Sequence[int]) -> None:
    """InvalidInput when so many raw bytes cannot be; of BYTES only the elements tell."""
    datatype = DATATYPES.get(name)
    if datatype is None or datatype.size is None:
        return
    wanted = count(shape) * datatype.size
    if size != wanted:
        raise InvalidInput(f"{size} raw bytes; {name} of shape {shown(shape)} takes {wanted}")


def flatten(values: Sequence[Any]) -> Sequence[Any]:
    """The elements of lists in lists, in row-major order; a flat list as it is."""
    if not values or not isinstance(values[0], list | tuple):
        return values
    try:
        return list(_elements(values))
    except RecursionError:
        raise InvalidInput("its lists are nested too deeply") from None


def _elements(values: Sequence[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _elements(value)
        else:
            yield value


def to_bytes(values: Sequence[Any]) -> list[bytes]:
    """The elements of a BYTES tensor, text as UTF-8."""
    return [value if type(value) is bytes else _to_bytes(value) for value in values]


def to_text(values: Sequence[Any]) -> list[str]:
    """The elements of a BYTES tensor as text, or InvalidInput for the first that is not UTF-8."""
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
    raise InvalidInput(f"given {shown(value)}; BYTES takes {DATATYPES['BYTES'].takes}")


def encode(datatype: Datatype, values: Sequence[Any]) -> bytes:
    """A flat list as raw bytes; InvalidInput names the first element that does not fit."""
    if datatype.size is None:
        return join(to_bytes(values))
    try:
        return _pack(datatype, values)
    except MISFITS:
        raise InvalidInput(_misfit(datatype, values)) from None


def plain(datatype: Datatype, values: Sequence[Any]) -> Sequence[Any]:
    """The values of a flat list, checked, each of the type that it should be; not for BYTES."""
    raw = encode(datatype, values)
    own = {bool} if datatype.code == "?" else {int, float} if datatype.code in "efd" else {int}
    return values if set(map(type, values)) <= own else decode(datatype, raw)


def _pack(datatype: Datatype, values: Sequence[Any]) -> bytes:
    if datatype.name == "BOOL" and not all(value in (0, 1) for value in values):
        raise ValueError("neither true nor false")  # struct takes anything for a bool
    raw = struct.pack(f"<{len(values)}{datatype.code}", *values)
    return _shorten(raw) if datatype.name == "BF16" else raw


def _misfit(datatype: Datatype, values: Sequence[Any]) -> str:
    number, value = next(pair for pair in enumerate(values) if not _fits(datatype, pair[1]))
    return f"element {number} is {shown(value)}; {datatype.name} takes {datatype.takes}"


def _fits(datatype: Datatype, value: object) -> bool:
    try:
        _pack(datatype, [value])
    except MISFITS:
        return False
    return True


def decode(datatype: Datatype, raw: Buffer) -> list[Any]:
    """Raw bytes as a flat list of Python's own values; bytes for BYTES."""
    if datatype.size is None:
        return split(raw)
    count, rest = divmod(len(raw), datatype.size)
    if rest:
        raise InvalidInput(
            f"{len(raw)} raw bytes are no whole number of elements of {datatype.size} bytes"
        )
    if datatype.name == "BF16":
        raw = _lengthen(raw)
    return list(struct.unpack(f"<{count}{datatype.code}", raw))


def join(elements: Sequence[bytes]) -> bytes:
    """The raw form of BYTES."""
    pack = LENGTH.pack
    return b"".join([part for element in elements for part in (pack(len(element)), element)])


def split(raw: Buffer) -> list[bytes]:
    """The elements of raw BYTES, or InvalidInput when the last one is cut short."""
    data = raw if isinstance(raw, bytes) else bytes(raw)
    read, total = LENGTH.unpack_from, len(data)
    elements: list[bytes] = []
    start = 0
    while start < total:
        content = start + 4
        end = content + read(data, start)[0] if content <= total else total + 1
        if end > total:
            raise InvalidInput(f"raw BYTES are cut short in element {len(elements)}")
        elements.append(data[content:end])
        start = end
    return elements


def _shorten(raw: bytes) -> bytes:
    """FP32 to BF16, to the nearest, and of two equally near to the even one, as hardware does."""
    words = struct.unpack(f"<{len(raw) // 4}I", raw)
    return struct.pack(f"<{len(words)}H", *map(_rounded, words))


def _rounded(word: int) -> int:
    magnitude = word & 0x7FFFFFFF
    if magnitude > INFINITY:  # a NaN, which must not become an infinity
        return word >> 16 | 0x40
    half = (word + 0x7FFF + (word >> 16 & 1)) >> 16
    if half & 0x7FFF == INFINITY >> 16 and magnitude != INFINITY:
        raise OverflowError("too large for BF16")
    return half


def _lengthen(raw: Buffer) -> bytearray:
    """BF16 to FP32, which is exact."""
    longer = bytearray(2 * len(raw))
    longer[2::4] = raw[0::2]
    longer[3::4] = raw[1::2]
    return longer
