"""The headers of a call, validated before anything is sent."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import grpc.aio

from sidecar.client.errors import InvalidInput

# The headers of a call, by name or as pairs; see `to_metadata` for what is allowed.
Headers = Mapping[str, str | bytes] | Sequence[tuple[str, str | bytes]] | grpc.aio.Metadata

# Source: "gRPC over HTTP/2", Custom-Metadata. Names are lower-case, text values printable ASCII,
# and `-bin` values any bytes. gRPC reports other values only as an internal error.
_NAME = re.compile(r"[0-9a-z_.-]+")
_TEXT = re.compile(r"[ -~]*")


def to_metadata(headers: Headers | None) -> tuple[tuple[str, str | bytes], ...]:
    """Return the headers as the (name, value) pairs that gRPC sends as metadata.

    headers:  a mapping or a sequence of pairs; a value is a str of printable
              ASCII, or bytes if the name ends with `-bin`. None for no headers.

    Raises InvalidInput if a header cannot be sent. The text has the name of
    the header and never its value.
    """
    if headers is None or (isinstance(headers, dict | tuple) and not headers):
        return ()
    # In older grpcio, grpc.aio.Metadata is a Mapping, but iterating it yields pairs.
    if isinstance(headers, Mapping) and not isinstance(headers, grpc.aio.Metadata):
        headers = tuple(headers.items())
    try:
        pairs = tuple((name, value) for name, value in map(_not_text, headers))
    except (TypeError, ValueError):
        raise InvalidInput("headers are (name, value) pairs or a mapping") from None
    for position, (name, value) in enumerate(pairs, 1):
        _check(position, name, value)
    return pairs


def _not_text(pair: object) -> Any:
    if isinstance(pair, str | bytes):  # "ab" would be unpacked into "a" and "b"
        raise TypeError("not a pair")
    return pair


def _check(position: int, name: object, value: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        # Not shown, because it may contain a secret: `authorization: Bearer ...`.
        raise InvalidInput(
            f"the name of header {position} is not of lower-case letters, digits and _ . - alone"
        )
    if name.startswith("grpc-"):
        raise InvalidInput(f"header name {name!r}: names that start with grpc- belong to gRPC")
    if name.endswith("-bin"):
        if not isinstance(value, bytes):
            raise InvalidInput(f"header {name!r}: the value of a -bin header is bytes")
    elif not isinstance(value, str) or not _TEXT.fullmatch(value):
        raise InvalidInput(f"header {name!r}: a value is a str of printable ASCII")
