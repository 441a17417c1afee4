"""What gRPC cannot use of TLS files is an error at the start; what it can use is none."""

import itertools
import re
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

from sidecar.config import BadSettings, load
from tests.support import require_program, untyped

BOM = b"\xef\xbb\xbf"
TAKES = {
    "tls_cert_file": "RSA, ECDSA P-256, ECDSA P-384",
    "tls_ca_file": "RSA, ECDSA P-256, ECDSA P-384, ECDSA P-224, ECDSA P-521, Ed25519",
}
KEYS = {
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "RSA of 1024 bits": lambda: rsa.generate_private_key(65537, 1024),
    "ECDSA P-224": lambda: ec.generate_private_key(ec.SECP224R1()),
    "ECDSA P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ECDSA P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ECDSA P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ECDSA secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "ECDSA on another curve": lambda: ec.generate_private_key(ec.BrainpoolP256R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "Ed448": ed448.Ed448PrivateKey.generate,
    "DSA": lambda: dsa.generate_private_key(1024),
}
CLIENTS = {"RSA", "RSA of 1024 bits", "ECDSA P-256", "ECDSA P-384"}
AUTHORITIES = CLIENTS | {"ECDSA P-224", "ECDSA P-521", "Ed25519"}


@cache
def key_of(kind: str):
    return KEYS[kind]()


@dataclass(frozen=True)
class Issuer:
    """An authority, and the certificates that it issues for localhost."""

    key: object
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(form.Encoding.PEM)

    def issue(self, key) -> bytes:
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        return signed(
            builder("localhost", self.certificate.subject, key).add_extension(
                names, critical=False
            ),
            self.key,
        ).public_bytes(form.Encoding.PEM)


NUMBERS = itertools.count(1)


def builder(name: str, issuer: x509.Name | None, key) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    return x509.CertificateBuilder(
        issuer or subject,
        subject,
        untyped(key).public_key(),
        next(NUMBERS),
        now - timedelta(days=1),
        now + timedelta(days=1),
    )


def signed(certificate: x509.CertificateBuilder, key) -> x509.Certificate:
    modern = isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return certificate.sign(key, None if modern else hashes.SHA256())


@cache
def issuer(kind: str) -> Issuer:
    """An authority with a key of this kind, and a name of its own."""
    key = key_of(kind)
    basic = x509.BasicConstraints(ca=True, path_length=None)
    named = builder(f"authority {kind}", None, key).add_extension(basic, critical=True)
    return Issuer(key, signed(named, key))


def pem(key, encryption: form.KeySerializationEncryption | None = None) -> bytes:
    content: bytes = untyped(key).private_bytes(
        form.Encoding.PEM, form.PrivateFormat.PKCS8, encryption or form.NoEncryption()
    )
    return content


def good() -> Issuer:
    return issuer("ECDSA P-256")


async def connects(ca: bytes, cert: bytes | None = None, key: bytes | None = None, server=None):
    """Whether gRPC reaches a real server with these; the server's own authority may be another."""
    own = untyped(key_of("ECDSA P-384"))

    async def answer(_: bytes, __: object) -> bytes:
        return b""

    handlers: dict[str, Any] = {"b": grpc.unary_unary_rpc_method_handler(answer)}
    running = grpc.aio.server()
    running.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("a", handlers)])
    credentials = grpc.ssl_server_credentials(
        [(pem(own), (server or good()).issue(own))],
        good().pem,
        require_client_auth=cert is not None,
    )
    port = running.add_secure_port("localhost:0", credentials)
    await running.start()
    try:
        creds = grpc.ssl_channel_credentials(ca, key, cert)
        async with grpc.aio.secure_channel(f"localhost:{port}", creds) as channel:
            await untyped(channel).unary_unary("/a/b")(b"", timeout=10)
    except grpc.aio.AioRpcError:
        return False
    finally:
        await running.stop(None)
    return True


@pytest.fixture
def told(tmp_path):
    """What the settings say of these files; nothing when they take them."""

    def check(**contents: bytes) -> list[str]:
        flags = {}
        for name, content in contents.items():
            path = tmp_path / name
            path.write_bytes(content)
            flags[f"tls_{name}_file"] = str(path)
        try:
            load(flags)
        except BadSettings as error:
            return error.lines
        return []

    return check


@pytest.mark.parametrize("kind", KEYS)
async def test_a_key_of_a_client_is_refused_when_grpc_cannot_use_it(kind, told):
    key = key_of(kind)
    cert = good().issue(key)
    usable = await connects(good().pem, cert, pem(key))
    assert usable == (kind in CLIENTS)
    lines = told(ca=good().pem, cert=cert, key=pem(key))
    if usable:
        assert lines == []
    else:
        reason = f"holds a key of the kind {kind}; gRPC (BoringSSL) takes only "
        assert reason + TAKES["tls_cert_file"] in lines[0]
        assert lines[0].startswith("tls_cert_file: ")


@pytest.mark.parametrize("kind", KEYS)
async def test_an_authority_is_refused_when_grpc_cannot_trust_by_it(kind, told):
    authority = issuer(kind)
    usable = await connects(authority.pem, server=authority)
    assert usable == (kind in AUTHORITIES)
    lines = told(ca=authority.pem)
    if usable:
        assert lines == []
    else:
        reason = f"holds a key of the kind {kind}; gRPC (BoringSSL) takes only "
        assert reason + TAKES["tls_ca_file"] in lines[0]


@pytest.mark.parametrize("kind", sorted(set(KEYS) - AUTHORITIES))
async def test_an_authority_beside_it_that_grpc_cannot_use_does_no_harm(kind, told):
    bundle = issuer(kind).pem + good().pem
    assert await connects(bundle)
    assert told(ca=bundle) == []


@pytest.mark.parametrize(
    "args",
    [
        ["RSA-PSS"],
        ["EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-pkeyopt", "ec_param_enc:explicit"],
    ],
)
async def test_a_key_that_only_openssl_makes_is_refused(args, told, tmp_path):
    openssl = require_program("openssl")

    def run(*rest: str) -> None:
        subprocess.run([openssl, *rest], check=True, capture_output=True, cwd=tmp_path)

    run("genpkey", "-out", "own.pem", "-algorithm", *args)
    run("req", "-x509", "-new", "-key", "own.pem", "-subj", "/CN=localhost", "-out", "own.crt")
    cert, key = ((tmp_path / name).read_bytes() for name in ("own.crt", "own.pem"))
    assert not await connects(good().pem, cert, key)
    kind = {"RSA-PSS": "RSA-PSS", "EC": "ECDSA with explicit curve parameters"}[args[0]]
    lines = told(cert=cert, key=key)
    assert f"holds a key of the kind {kind}; gRPC (BoringSSL) takes only " in lines[0]


MARKED = "has a byte-order mark before -----BEGIN in line {}, and gRPC would not find what follows"
NOT_AT_START = "has a -----BEGIN in line {} that does not start the line"
UTF16 = "is UTF-16 text, which gRPC cannot read"
OTHER = "ECDSA P-224"

# What is done to the file, and why it is refused.
FORMS = {
    "byte-order mark": (lambda text: BOM + text, MARKED.format(1)),
    "UTF-16": (lambda text: text.decode().encode("utf-16"), UTF16),
    "leading blanks": (lambda text: b"  " + text, NOT_AT_START.format(1)),
    "comment and byte-order mark": (lambda text: b"a\n\n" + BOM + text, MARKED.format(3)),
    "comment": (lambda text: b"a comment\n" + text, None),
    "byte-order mark and comment": (lambda text: BOM + b"a comment\n" + text, None),
    "commented BEGIN": (lambda text: b"# -----BEGIN X-----\n" + text, None),
    "commented out and in": (lambda text: re.sub(rb"(?m)^", b"#", text) + b"\n" + text, None),
    "indented comment": (lambda text: b" \t# -----BEGIN X-----\n" + text, None),
    "byte-order mark and commented BEGIN": (
        lambda text: BOM + b"# -----BEGIN X-----\n" + text,
        None,
    ),
    "comment and glued BEGIN": (lambda text: b"#\n;" + text, NOT_AT_START.format(2)),
    "CRLF": (lambda text: text.replace(b"\n", b"\r\n"), None),
    "trailing blanks": (lambda text: text.replace(b"\n", b" \n"), None),
}


@pytest.mark.parametrize("shape", FORMS)
@pytest.mark.parametrize("name", ["ca", "cert", "key"])
async def test_a_file_that_grpc_would_not_find_anything_in_is_refused(name, shape, told):
    change, reason = FORMS[shape]
    key = key_of("ECDSA P-256")
    files = {"ca": good().pem, "cert": good().issue(key), "key": pem(key)}
    files[name] = change(files[name])
    assert await connects(files["ca"], files["cert"], files["key"]) is (reason is None)
    lines = told(**files)
    if reason is None:
        assert lines == []
    else:
        assert lines[0].startswith(f"tls_{name}_file: ")
        assert reason in lines[0]


@pytest.mark.parametrize(
    ("between", "reason"),
    [(b"", None), (BOM, MARKED), (b"  ", NOT_AT_START), (BOM + b"a comment\n", None)],
)
async def test_an_authority_that_grpc_would_pass_over_in_a_bundle_is_named(between, reason, told):
    first = issuer(OTHER).pem
    bundle = first + between + good().pem
    assert await connects(bundle) is (reason is None)
    lines = told(ca=bundle)
    if reason is None:
        assert lines == []
    else:
        assert reason.format(1 + first.count(b"\n")) in lines[0]


async def test_two_certificates_without_a_line_between_them_are_refused(told):
    bundle = issuer(OTHER).pem.rstrip() + good().pem
    assert not await connects(bundle)
    assert (
        NOT_AT_START.format(bundle.count(b"\n", 0, bundle.index(b"-----BEGIN", 1)) + 1)
        in (told(ca=bundle)[0])
    )


async def test_what_is_commented_out_is_not_there(told):
    key = key_of("ECDSA P-256")
    cert = good().issue(key)

    def out(pem: bytes) -> bytes:
        return re.sub(rb"(?m)^(?=.)", b"# ", pem)

    unusable, encrypted = issuer("DSA").pem, pem(key, form.BestAvailableEncryption(b"x"))
    files = {
        "ca": out(unusable) + good().pem,
        "cert": out(unusable) + cert,
        "key": out(encrypted) + pem(key),
    }
    assert await connects(files["ca"], files["cert"], files["key"])
    assert told(**files) == []
    assert "holds no certificate in PEM form" in told(ca=out(good().pem))[0]
    lines = told(cert=out(cert), key=out(pem(key)))
    assert "holds no certificate in PEM form" in lines[0]
    assert "holds no private key in PEM form" in lines[1]


async def test_an_encrypted_key_is_refused(told):
    key = key_of("ECDSA P-256")
    cert, secret = good().issue(key), pem(key, form.BestAvailableEncryption(b"x"))
    assert not await connects(good().pem, cert, secret)
    assert (
        "holds an encrypted private key, and gRPC takes no password"
        in (told(cert=cert, key=secret)[0])
    )


async def test_a_file_without_a_key_is_refused(told):
    key = key_of("ECDSA P-256")
    cert = good().issue(key)
    assert "holds no private key in PEM form" in told(cert=cert, key=cert)[0]


async def test_a_bad_key_is_told_beside_a_bad_certificate(told):
    lines = told(cert=b"x", key=BOM + pem(key_of("RSA")))
    assert "holds no certificate in PEM form" in lines[0]
    assert MARKED.format(1) in lines[1]
