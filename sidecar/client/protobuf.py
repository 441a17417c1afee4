"""Build, parse and serialize protobuf messages; errors name the field and the value."""

from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, Message

from sidecar.client.errors import InvalidInput, Unreadable, shown

M = TypeVar("M", bound=Message)


def build(kind: type[M], **texts: str) -> M:
    """Return a new message with these string fields.

    Raises InvalidInput, which names the field, if a value is not a str or
    cannot be encoded as UTF-8.
    """
    try:
        return kind(**texts)
    except (TypeError, ValueError):
        raise InvalidInput(_not_text(texts)) from None


def add(field: Any, **texts: str) -> Any:
    """Append a message with these string fields to a repeated field and return it.

    Raises InvalidInput as `build` does, and also if a value is None.
    """
    try:
        if None not in texts.values():
            return field.add(**texts)
    except (TypeError, ValueError):
        pass
    raise InvalidInput(_not_text(texts))


def serialized(kind: type[Message], message: object) -> bytes | None:
    """Return the bytes of a message whose type has the same name as `kind`, in any package.

    Returns None if `message` is anything else.
    """
    if isinstance(message, Message) and message.DESCRIPTOR.name == kind.DESCRIPTOR.name:
        return message.SerializeToString()
    return None


def own(kind: type[M], message: object) -> M:
    """Return the message as an instance of `kind`.

    message:  an instance of `kind`, a message of the same name from another
              package (such as kserve's or tritonclient's), or serialized bytes.

    Raises InvalidInput if it is none of these, and Unreadable if it cannot be parsed.
    """
    if isinstance(message, kind):
        return message
    data = bytes(message) if isinstance(message, bytes | memoryview) else serialized(kind, message)
    if data is None:
        raise InvalidInput(f"given {type(message).__name__}; allowed: {kind.DESCRIPTOR.name}")
    return parse(kind, data)


def parse(kind: type[M], data: bytes) -> M:
    """Return the message that these bytes encode. Raises Unreadable if they cannot be parsed."""
    try:
        return kind.FromString(data)
    except (DecodeError, UnicodeDecodeError) as error:  # the second by protobuf in pure Python
        raise Unreadable(f"not a {kind.DESCRIPTOR.name}: {error}") from None


def _not_text(texts: Mapping[str, object]) -> str:
    wrong = (f"{name} {shown(value)}" for name, value in texts.items() if not _is_text(value))
    return f"{', '.join(wrong)} is not a str that can be written as UTF-8"


def _is_text(value: object) -> bool:
    try:
        str.encode(value)  # type: ignore[arg-type] # the TypeError is caught below
    except (TypeError, UnicodeEncodeError):
        return False
    return True
