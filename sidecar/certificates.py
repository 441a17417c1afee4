"""When the certificates in a PEM file expire.

The standard library can say so only for the authorities that it trusts, and a
package for X.509 would weigh more than the sidecar itself; the one field that
is needed stands at a fixed place (RFC 5280, section 4.1).
"""

import re
import ssl
from datetime import UTC, datetime
from pathlib import Path

_BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_EXPLICIT_VERSION, _UTC_TIME = 0xA0, 0x17


def earliest_expiry(path: Path) -> float:
    """The Unix time at which the first certificate of the file expires.

    ValueError when there is none, or none that can be read.
    """
    blocks = _BLOCK.findall(path.read_text("ascii", "replace"))
    if not blocks:
        raise ValueError("holds no certificate in PEM form")
    try:
        return min(_not_after(ssl.PEM_cert_to_DER_cert(block)) for block in blocks)
    except (IndexError, ValueError):
        raise ValueError("holds a certificate that cannot be read") from None


def _not_after(der: bytes) -> float:
    _, certificate, _ = _element(der)
    _, to_be_signed, _ = _element(certificate)
    tag, _, after_version = _element(to_be_signed)
    rest = after_version if tag == _EXPLICIT_VERSION else to_be_signed
    for _ in ("serial number", "signature", "issuer"):
        _, _, rest = _element(rest)
    _, validity, _ = _element(rest)
    _, _, rest = _element(validity)
    tag, not_after, _ = _element(rest)
    text = not_after.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _element(der: bytes) -> tuple[int, bytes, bytes]:
    """The tag and the content of the first element, and whatever follows it."""
    tag, length, start = der[0], der[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[2:start], "big")
    return tag, der[start : start + length], der[start + length :]
