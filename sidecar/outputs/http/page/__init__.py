"""The status page: one document assembled from index.html, style.css and script.js.

The security policy allows only this script and this style, by their hashes, and only requests to
this sidecar. Other pages cannot embed the page.
"""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from typing import NamedTuple

# The empty elements of index.html, and the files whose content is inserted.
_EMBEDDED = {"style": "style.css", "script": "script.js"}


class Page(NamedTuple):
    """The body and the headers."""

    body: bytes
    headers: Mapping[str, str]


def load() -> Page:
    """Read the page's files and put them together."""
    folder = files(__name__)
    body = folder.joinpath("index.html").read_bytes()
    hashes: dict[str, str] = {}
    for element, file in _EMBEDDED.items():
        tag = element.encode()
        text = b"\n" + folder.joinpath(file).read_bytes()
        before, after = body.split(b"<%b></%b>" % (tag, tag))
        body = b"%b<%b>%b</%b>%b" % (before, tag, text, tag, after)
        hashes[element] = f"'sha256-{b64encode(sha256(text).digest()).decode()}'"
    directives = (
        "default-src 'none'",
        f"script-src {hashes['script']}",
        f"style-src {hashes['style']}",
        "connect-src 'self'",
        "img-src data:",  # the icon that the script draws
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
