"""Fixtures that more than one folder needs."""

import os
import signal
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import hypothesis
import pytest
import trustme

# A slow machine is no failure of a property.
hypothesis.settings.register_profile("without a deadline", deadline=None)
hypothesis.settings.load_profile("without a deadline")

EXPIRES = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)


@dataclass(frozen=True)
class Pki:
    """An authority, and a certificate for localhost that serves a server and a client."""

    ca: Path
    cert: Path
    key: Path

    def server_credentials(self, *, mutual: bool = False) -> grpc.ServerCredentials:
        """What a gRPC server needs; `mutual` asks for the client's certificate."""
        return grpc.ssl_server_credentials(
            [(self.key.read_bytes(), self.cert.read_bytes())],
            self.ca.read_bytes() if mutual else None,
            require_client_auth=mutual,
        )


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch):
    for name in os.environ:
        if name.startswith("SIDECAR_"):
            monkeypatch.delenv(name)


HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture
def restored_signals():
    """The command line may set handlers of its own in this process."""
    before = {signum: signal.getsignal(signum) for signum in HANDLED}
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.fixture(scope="session")
def pki(tmp_path_factory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def other_pki(tmp_path_factory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("other-pki"))


def make_pki(folder: Path) -> Pki:
    """A new authority in a folder."""
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost", "127.0.0.1", not_after=EXPIRES)
    paths = Pki(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    authority.cert_pem.write_to_path(paths.ca)
    paths.cert.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(paths.key)
    return paths
