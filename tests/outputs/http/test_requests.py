"""Whatever is sent to a running sidecar, it answers without an error of its own, or not at all."""

import socket
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import Sidecar, running_sidecar
from tests.toy import ToyProcess

PATHS = ["/healthz", "/readyz", "/readyz/", "/startupz", "/livez", "/metrics", "/status", "/"]
names = st.sampled_from(["Accept", "Accept-Encoding", "Content-Length", "Expect", "Range", "X", ""])
targets = st.builds(
    lambda path, rest: path.encode() + rest,
    st.sampled_from(PATHS),
    st.one_of(
        st.binary(max_size=60),
        st.sampled_from([b"?exclude=", b"?verbose&exclude=", b"model:"]).flatmap(
            lambda start: st.binary(max_size=40).map(start.__add__)
        ),
    ),
)


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory) -> Iterator[Sidecar]:
    log = tmp_path_factory.mktemp("requests") / "log"
    with (
        ToyProcess(models={"a": True}) as toy,
        running_sidecar(log, f"--server-url={toy.url}", "--models=a") as sidecar,
    ):
        sidecar.wait_for("/readyz", 200)
        yield sidecar


def answer(port: int, request: bytes) -> bytes:
    """Everything that comes back."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        received = []
        try:
            while part := connection.recv(65536):
                received.append(part)
        except ConnectionResetError:
            pass
        return b"".join(received)


@example(b"GET", b"/readyz", [("Expect", b"\xd3")], b"")
@example(b"POST", b"/none", [("Expect", b"100-continue"), ("Content-Length", b"9")], b"")
@given(
    st.sampled_from([b"GET", b"HEAD", b"POST", b"OPTIONS", b"get", b""]),
    targets,
    st.lists(st.tuples(names, st.binary(max_size=60)), max_size=4),
    st.binary(max_size=40),
)
def test_no_request_is_an_error_of_the_sidecar(sidecar, method, target, headers, body):
    lines = [b"%s %s HTTP/1.1" % (method, target), b"Host: h", b"Connection: close"]
    lines += [name.encode() + b": " + value for name, value in headers]
    reply = answer(sidecar.port, b"\r\n".join([*lines, b"", body]))
    status = reply[9:12]
    assert status in (b"", b"200", b"400", b"404", b"405", b"413", b"431"), reply[:200]
    assert sidecar.get("/readyz").status == 200
    assert "Traceback" not in sidecar.log
