"""The `:authority` of each question, and the name that the server's certificate must have."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
import trustme

from tests.support import sidecar

TRUE = b"\x08\x01"  # of each of the three replies


class Ingress(grpc.GenericRpcHandler):
    """A server that answers everything with true, and keeps which host it was asked for."""

    def __init__(self) -> None:
        self.hosts: set[str] = set()

    def service(self, _):
        def answer(_: bytes, context: Any) -> bytes:
            self.hosts.add(context._rpc_event.call_details.host.decode())
            return TRUE

        return grpc.unary_unary_rpc_method_handler(answer)


@contextlib.contextmanager
def ingress(credentials: grpc.ServerCredentials | None = None) -> Iterator[tuple[Ingress, int]]:
    """It and its port."""
    handler = Ingress()
    server = grpc.server(ThreadPoolExecutor(2), handlers=[handler])
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield handler, port
    finally:
        server.stop(None).wait()


@pytest.mark.parametrize("authority", ["models.example", "models.example:443", "[::1]:80"])
def test_it_is_sent_with_every_question_without_tls(authority):
    with ingress() as (server, port):
        address = f"--server-url=127.0.0.1:{port}"
        result = sidecar("check", address, "--models=a", f"--authority={authority}")
    assert (result.returncode, server.hosts) == (0, {authority}), result.stderr


def test_without_it_the_url_says_it():
    with ingress() as (server, port):
        assert sidecar("check", f"--server-url=localhost:{port}").returncode == 0
    assert server.hosts == {f"localhost:{port}"}


@pytest.mark.parametrize(
    ("certified", "flags", "hosts"),
    [
        ("a.example", ["--authority=a.example"], {"a.example"}),
        ("a.example", ["--authority=a.example:443"], {"a.example:443"}),
        ("localhost", ["--authority=a.example"], None),
        ("a.example", ["--tls-server-name=a.example"], {"a.example"}),
        ("a.example", ["--tls-server-name=a.example", "--authority=b.example"], {"b.example"}),
        ("b.example", ["--tls-server-name=a.example", "--authority=b.example"], None),
    ],
)
def test_with_tls_the_name_that_is_expected_is_the_server_name_and_else_the_authority(
    certified, flags, hosts, tmp_path
):
    issuer, ca = trustme.CA(), tmp_path / "ca.pem"
    issuer.cert_pem.write_to_path(ca)
    leaf = issuer.issue_cert(certified)
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    credentials = grpc.ssl_server_credentials([(leaf.private_key_pem.bytes(), chain)])
    with ingress(credentials) as (server, port):
        url = f"--server-url=localhost:{port}"
        result = sidecar("check", url, f"--tls-ca-file={ca}", *flags)
    told = "[-]server-live failed: tls" in result.stdout
    assert (result.returncode, told) == ((0, False) if hosts else (3, True)), result.stderr
    assert server.hosts == (hosts or set())
