"""The status page as it is sent: index.html, and what a browser is told it may do.

The page's script and style stand in the file itself and are let in by their
hashes. It may ask this sidecar again and nothing else; nobody may frame it.
"""

import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from typing import NamedTuple

_ELEMENT = re.compile(rb"<(script|style)>(.*?)</\1>", re.DOTALL)


class Page(NamedTuple):
    """The body, and the headers that go with it."""

    body: bytes
    headers: Mapping[str, str]


def load() -> Page:
    """The page from the package's own file."""
    body = files(__name__).joinpath("index.html").read_bytes()
    hashes: dict[bytes, str] = {}
    for name, text in _ELEMENT.findall(body):
        hashes[name] = "'sha256-" + b64encode(sha256(text).digest()).decode() + "'"
    directives = (
        "default-src 'none'",
        f"script-src {hashes[b'script']}",
        f"style-src {hashes[b'style']}",
        "connect-src 'self'",
        "img-src data:",  # the icon, which the script draws
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": "; ".join(directives),
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    return Page(body, headers)
