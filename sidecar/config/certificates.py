"""The contents of TLS files: when certificates expire, and whether gRPC can use them.

gRPC's BoringSSL accepts less than Python's OpenSSL, and reports it only when it connects. The
standard library cannot read a certificate that it does not trust, and a package for X.509 would
be larger than the sidecar itself; the needed fields are at fixed positions (RFC 5280, section 4.1).
"""

import re
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----")
_ENCRYPTED = re.compile(
    r"-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED", re.MULTILINE
)
# gRPC and OpenSSL find a block only if -----BEGIN is at the beginning of a line.
_COMMENT = re.compile(rb"^(?:\xef\xbb\xbf)?[ \t]*#.*", re.MULTILINE)
_NOT_AT_LINE_START = re.compile(rb"[^\r\n](?=-----BEGIN )")
_MARKS = {b"\xef\xbb\xbf": "UTF-8", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}

_EXPLICIT_VERSION, _UTC_TIME, _OBJECT_IDENTIFIER = 0xA0, 0x17, 0x06

# Object identifiers of key types, and of elliptic curves.
_ELLIPTIC_CURVE = "2a8648ce3d0201"
_KEYS = {
    "2a864886f70d010101": "RSA",
    "2a864886f70d01010a": "RSA-PSS",
    "2a8648ce380401": "DSA",
    "2b6570": "Ed25519",
    "2b6571": "Ed448",
    "2b81040021": "ECDSA P-224",
    "2a8648ce3d030107": "ECDSA P-256",
    "2b81040022": "ECDSA P-384",
    "2b81040023": "ECDSA P-521",
    "2b8104000a": "ECDSA secp256k1",
}
# Tried with grpcio 1.62 and 1.85 (tests/config/test_tls_files.py).
CLIENT_KEYS = ("RSA", "ECDSA P-256", "ECDSA P-384")
AUTHORITY_KEYS = (*CLIENT_KEYS, "ECDSA P-224", "ECDSA P-521", "Ed25519")


class Certificate(NamedTuple):
    """The expiry of a certificate in Unix time, and the type of its key."""

    expires: float
    key: str


def latest_expiry(path: Path) -> float:
    """Return the Unix time at which the last certificate of a CA file expires."""
    return max(certificate.expires for certificate in certificates(path))


def leaf_expiry(path: Path) -> float:
    """Return the Unix time at which the first certificate of a file, the leaf, expires."""
    return certificates(path)[0].expires


def certificates(path: Path) -> list[Certificate]:
    """Return all certificates of a PEM file. ValueError if there is none or one is invalid."""
    blocks = _CERTIFICATE.findall(_without_comments(path).decode("ascii", "replace"))
    if not blocks:
        raise ValueError("holds no certificate in PEM form")
    try:
        return [_certificate(ssl.PEM_cert_to_DER_cert(block)) for block in blocks]
    except (IndexError, ValueError):
        raise ValueError("holds a certificate that cannot be read") from None


def check_authorities(path: Path) -> None:
    """Raise ValueError if gRPC cannot use the file as root certificates."""
    _check_form(path)
    kinds = {certificate.key for certificate in certificates(path)}
    if kinds.isdisjoint(AUTHORITY_KEYS):
        raise ValueError(_unusable(sorted(kinds), AUTHORITY_KEYS))
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as error:
        raise ValueError(f"cannot be used: {error.reason}") from None


def check_certificate(path: Path) -> None:
    """Raise ValueError if gRPC cannot use the file as a client certificate."""
    _check_form(path)
    key = certificates(path)[0].key
    if key not in CLIENT_KEYS:
        raise ValueError(_unusable([key], CLIENT_KEYS))


def check_key(path: Path) -> None:
    """Raise ValueError if gRPC cannot use the file as a client's private key."""
    _check_form(path)
    text = _without_comments(path).decode("ascii", "replace")
    if not _KEY.search(text):
        raise ValueError("holds no private key in PEM form")
    if _ENCRYPTED.search(text):
        raise ValueError("holds an encrypted private key, and gRPC takes no password")


def check_pair(certificate: Path, key: Path) -> None:
    """Raise ValueError if the key does not belong to the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")  # the server decides which sizes are allowed
    try:
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except ssl.SSLError as error:
        raise ValueError(f"is not the key of tls_cert_file ({error.reason})") from None


def _check_form(path: Path) -> None:
    """Raise ValueError if gRPC would not find all blocks of the file."""
    content = _without_comments(path)
    for mark, encoding in _MARKS.items():
        if encoding == "UTF-16" and content.startswith(mark):
            raise ValueError("is UTF-16 text, which gRPC cannot read; save it as ASCII")
        if mark + b"-----BEGIN " in content:
            line = content[: content.index(mark + b"-----BEGIN ")].count(b"\n") + 1
            raise ValueError(
                f"has a byte-order mark before -----BEGIN in line {line}, and gRPC would not"
                " find what follows; save it without"
            )
    if found := _NOT_AT_LINE_START.search(content):
        line = content[: found.start()].count(b"\n") + 1
        raise ValueError(f"has a -----BEGIN in line {line} that does not start the line")


def _without_comments(path: Path) -> bytes:
    """Return the file with an empty line for each line that begins with `#`."""
    return _COMMENT.sub(b"", path.read_bytes())


def _unusable(kinds: list[str], usable: tuple[str, ...]) -> str:
    held = " and ".join(kinds)
    return f"holds a key of the kind {held}; gRPC (BoringSSL) takes only {', '.join(usable)}"


def _certificate(der: bytes) -> Certificate:
    _, certificate, _ = _element(der)
    _, to_be_signed, _ = _element(certificate)
    tag, _, after_version = _element(to_be_signed)
    rest = after_version if tag == _EXPLICIT_VERSION else to_be_signed
    for _ in ("serial number", "signature", "issuer"):
        _, _, rest = _element(rest)
    _, validity, rest = _element(rest)
    _, _, after_subject = _element(rest)
    _, key, _ = _element(after_subject)
    _, algorithm, _ = _element(key)
    return Certificate(_not_after(validity), _kind(algorithm))


def _not_after(validity: bytes) -> float:
    _, _, rest = _element(validity)
    tag, not_after, _ = _element(rest)
    text = not_after.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _kind(algorithm: bytes) -> str:
    _, identifier, parameters = _element(algorithm)
    if identifier.hex() != _ELLIPTIC_CURVE:
        return _KEYS.get(identifier.hex(), "unknown")
    tag, curve, _ = _element(parameters)
    if tag != _OBJECT_IDENTIFIER:
        return "ECDSA with explicit curve parameters"
    return _KEYS.get(curve.hex(), "ECDSA on another curve")


def _element(der: bytes) -> tuple[int, bytes, bytes]:
    """Return the tag and the content of the first element, and the rest."""
    tag, length, start = der[0], der[1], 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[2:start], "big")
    return tag, der[start : start + length], der[start + length :]
