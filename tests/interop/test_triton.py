"""The sidecar as its own process against a real Triton, which means other things by its words."""

import itertools
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from sidecar.oip import SERVICE
from tests.interop.inference_servers import Triton
from tests.support import Sidecar, running_sidecar, wait_until

# The first run installs the server.
pytestmark = pytest.mark.timeout(900)

A, B = "fp32", "int64"


@pytest.fixture
def triton(tmp_path: Path) -> Iterator[Triton]:
    """A Triton with two models, of which only the first is loaded."""
    server = Triton(tmp_path, "--model-control-mode=explicit", f"--load-model={A}")
    try:
        server.start(loaded=[A, B])
        yield server
    finally:
        server.kill()


@pytest.fixture
def watch(triton, tmp_path):
    """Starts a sidecar that polls it about some models."""
    number = itertools.count()

    def watch(models: str, *flags: str):
        url = f"--server-url=127.0.0.1:{triton.port}"
        log = tmp_path / f"sidecar-{next(number)}.log"
        return running_sidecar(log, url, f"--models={models}", *flags)

    return watch


def tell(server: Triton, rpc: str, model: str) -> str:
    """RepositoryModelLoad or RepositoryModelUnload, which the client does not offer; its status."""
    name = model.encode()
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call: Any = channel.unary_unary(f"/{SERVICE}/Repository{rpc}")
        try:
            call(b"\x12" + bytes([len(name)]) + name, timeout=20)  # field 2: model_name
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


def statuses(sidecar: Sidecar) -> dict[str, int]:
    """The status of each endpoint."""
    return {path: sidecar.get(path).status for path in ("/healthz", "/readyz", "/startupz")}


def test_a_model_that_is_loaded_is_ready_and_one_that_is_not_is_not(watch):
    with watch(f"{A},{B},missing,{A}:1,{A}:99") as sidecar:
        for line in (
            "[+]server-live ok",
            "[+]server-ready ok",
            f"[+]model:{A} ok",
            f"[-]model:{B} failed: not_ready",
            "[-]model:missing failed: not_ready",  # Triton says no more of it
            f"[+]model:{A}:1 ok",
            f"[-]model:{A}:99 failed: not_ready",
        ):
            sidecar.wait_for_line(line)
        assert statuses(sidecar) == {"/healthz": 200, "/readyz": 503, "/startupz": 503}


def test_a_model_that_is_loaded_and_unloaded_comes_and_goes(triton, watch):
    with watch(f"{A},{B}") as sidecar:
        sidecar.wait_for_line(f"[-]model:{B} failed: not_ready")
        assert tell(triton, "ModelLoad", B) == "OK"
        sidecar.wait_for("/readyz", 200)
        assert tell(triton, "ModelUnload", B) == "OK"
        sidecar.wait_for_line(f"[-]model:{B} failed: not_ready")
        assert statuses(sidecar) == {"/healthz": 200, "/readyz": 503, "/startupz": 200}


def test_a_load_that_failed_fails_server_ready_for_good_unless_that_is_not_required(triton, watch):
    broken = triton.add("bool")
    (broken / "1" / "model.py").write_text("raise RuntimeError('broken')\n")
    with watch(A) as strict, watch(A, "--require-server-ready=false") as lenient:
        strict.wait_for("/readyz", 200)
        lenient.wait_for("/readyz", 200)
        assert tell(triton, "ModelLoad", "bool") != "OK"
        strict.wait_for_line("[-]server-ready failed: not_ready")
        lenient.wait_for_line("[-]server-ready failed: not_ready")
        assert strict.get("/readyz").status == 503
        assert lenient.get("/readyz").status == 200
        assert strict.get("/healthz").status == 200


def test_a_version_that_is_no_number_is_an_error(watch):
    with watch(f"{A}:abc") as sidecar:
        sidecar.wait_for_line(f"[-]model:{A}:abc failed: error")


def test_a_server_that_says_that_it_is_exiting_gets_no_traffic_and_is_left_to_finish(triton, watch):
    with watch(A, "--liveness-failure-threshold=100") as sidecar:
        sidecar.wait_for("/readyz", 200)
        triton.signal(signal.SIGTERM)
        failing = sidecar.wait_for("/readyz", 503, within=3)
        assert "[-]server-live failed: shutting_down" in failing.text
        assert sidecar.get("/healthz").status == 200
        series = 'inference_poll_failures_total{reason="shutting_down",rpc="ServerLive"}'
        assert sidecar.metric(series) >= 1
        # Once it is gone it is gone.
        sidecar.wait_for_line("[-]server-live failed: unreachable")


def test_killed_frozen_and_started_again(triton, watch):
    with watch(A) as sidecar:
        sidecar.wait_for("/readyz", 200)
        triton.signal(signal.SIGSTOP)
        dead = sidecar.wait_for("/healthz", 503)
        assert dead.text.splitlines()[0] == "[-]server-live failed: timeout"
        triton.signal(signal.SIGCONT)
        sidecar.wait_for("/readyz", 200)
        triton.kill()
        dead = sidecar.wait_for("/healthz", 503)
        assert dead.text.splitlines()[0] == "[-]server-live failed: unreachable"
        triton.start()
        wait_until(lambda: statuses(sidecar)["/readyz"] == 200, within=20)
        assert statuses(sidecar)["/healthz"] == 200


def test_a_restricted_protocol_is_denied_and_says_nothing_of_its_life(tmp_path):
    server = Triton(tmp_path, "--grpc-restricted-protocol=health:x-key=s3cret")
    url = f"--server-url=127.0.0.1:{server.port}"
    try:
        server.start(loaded=[A])
        with running_sidecar(tmp_path / "without.log", url, f"--models={A}") as without:
            without.wait_for_line("[-]server-live failed: denied")
        headers = "--headers=triton-grpc-protocol-x-key=s3cret"
        with running_sidecar(tmp_path / "with.log", url, f"--models={A}", headers) as allowed:
            allowed.wait_for("/readyz", 200)
            assert "s3cret" not in allowed.log
    finally:
        server.kill()
