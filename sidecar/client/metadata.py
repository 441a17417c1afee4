"""The headers of a call, checked before anything is sent."""

import re
from collections.abc import Mapping, Sequence

from sidecar.client.errors import InvalidInput

# grpc.aio.Metadata is a sequence of pairs when iterated, so it needs no case of its own.
Headers = Mapping[str, str | bytes] | Sequence[tuple[str, str | bytes]]

# gRPC's wire format: names are lower-case, text values printable ASCII, and
# `-bin` values any bytes. gRPC itself answers a breach with an internal error.
_NAME = re.compile(r"[0-9a-z_.-]+")
_TEXT = re.compile(r"[ -~]*")


def to_metadata(headers: Headers | None) -> tuple[tuple[str, str | bytes], ...]:
    """The headers as gRPC takes them, or InvalidInput that names the header (never its value)."""
    if headers is None:
        return ()
    try:
        pairs = headers.items() if isinstance(headers, Mapping) else [(n, v) for n, v in headers]
    except (TypeError, ValueError):
        raise InvalidInput("headers are (name, value) pairs or a mapping") from None
    for name, value in pairs:
        _check(name, value)
    return tuple(pairs)


def _check(name: object, value: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidInput(
            f"header name {name!r}: a name is made of lower-case letters, digits and _ . -"
        )
    if name.startswith("grpc-"):
        raise InvalidInput(f"header name {name!r}: names that start with grpc- belong to gRPC")
    if name.endswith("-bin"):
        if not isinstance(value, bytes):
            raise InvalidInput(f"header {name!r}: the value of a -bin header is bytes")
    elif not isinstance(value, str) or not _TEXT.fullmatch(value):
        raise InvalidInput(f"header {name!r}: a value is a str of printable ASCII")
