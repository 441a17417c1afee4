"""The sidecar as its own process against real servers, and what it makes of their answers."""

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.interop.inference_servers import InferenceServer, KServe, MLServer
from tests.support import Sidecar, running_sidecar

# The first run installs the servers.
pytestmark = pytest.mark.timeout(900)

A, B = "first", "second"


@pytest.fixture(
    params=[pytest.param(kind, id=kind.environment.name) for kind in (KServe, MLServer)]
)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[InferenceServer]:
    """A real server that is not started yet."""
    server: InferenceServer = request.param(tmp_path)
    try:
        yield server
    finally:
        server.kill()


def watching(server: InferenceServer, folder: Path, *args: str) -> AbstractContextManager[Sidecar]:
    """A running sidecar that polls the server."""
    return running_sidecar(folder / "sidecar.log", f"--server-url=127.0.0.1:{server.port}", *args)


def wait_for_readyz(sidecar: Sidecar, *lines: str) -> None:
    """Until the verbose body of /readyz has these lines and no other."""
    for line in lines:
        sidecar.wait_for_line(line)
    assert list(lines) == sidecar.get("/readyz?verbose").text.splitlines()


def statuses(sidecar: Sidecar) -> dict[str, int]:
    """The status of each endpoint."""
    return {path: sidecar.get(path).status for path in ("/healthz", "/readyz", "/startupz")}


def model_ready(model: str, version: str = "") -> str:
    """The name of the model's series."""
    return f'inference_model_ready{{model="{model}",version="{version}"}}'


def failures(rpc: str, reason: str) -> str:
    """The name of the counter's series."""
    return f'inference_poll_failures_total{{reason="{reason}",rpc="{rpc}"}}'


def test_models_that_are_ready_pass_everywhere(server, tmp_path):
    server.start(loaded=[A, B])
    with watching(server, tmp_path, f"--models={A},{B}") as sidecar:
        wait_for_readyz(
            sidecar,
            "[+]server-live ok",
            "[+]server-ready ok",
            f"[+]model:{A} ok",
            f"[+]model:{B} ok",
            "readyz check passed",
        )
        assert statuses(sidecar) == {"/healthz": 200, "/readyz": 200, "/startupz": 200}
        assert sidecar.metric("inference_server_live") == 1
        assert sidecar.metric("inference_server_ready") == 1
        assert sidecar.metric(model_ready(A)) == 1
        assert sidecar.metric(model_ready(B)) == 1


def test_a_model_that_loads_is_waited_for_while_the_server_lives(server, tmp_path):
    server.start(loaded=[A], loading=[B])
    all_ready = not server.server_ready_waits_for_models
    with watching(server, tmp_path, f"--models={A},{B}") as sidecar:
        wait_for_readyz(
            sidecar,
            "[+]server-live ok",
            "[+]server-ready ok" if all_ready else "[-]server-ready failed: not_ready",
            f"[+]model:{A} ok",
            f"[-]model:{B} failed: not_ready",
            "readyz check failed",
        )
        assert statuses(sidecar) == {"/healthz": 200, "/readyz": 503, "/startupz": 503}
        assert sidecar.metric("inference_server_ready") == all_ready
        assert sidecar.metric(model_ready(A)) == 1
        assert sidecar.metric(model_ready(B)) == 0
        assert sidecar.metric(failures("ModelReady", "not_ready")) >= 1

        server.load(B)
        sidecar.wait_for("/readyz", 200)
        assert statuses(sidecar) == {"/healthz": 200, "/readyz": 200, "/startupz": 200}
        assert sidecar.metric(model_ready(B)) == 1


def test_a_model_that_the_server_does_not_have_is_named_as_such(server, tmp_path):
    server.start(loaded=[A])
    with watching(server, tmp_path, f"--models={A},missing") as sidecar:
        wait_for_readyz(
            sidecar,
            "[+]server-live ok",
            "[+]server-ready ok",
            f"[+]model:{A} ok",
            "[-]model:missing failed: model_not_found",
            "readyz check failed",
        )
        assert statuses(sidecar) == {"/healthz": 200, "/readyz": 503, "/startupz": 503}
        assert sidecar.metric(model_ready("missing")) == 0
        assert sidecar.metric(failures("ModelReady", "model_not_found")) >= 1
        assert sidecar.metric(failures("ModelReady", "error")) == 0


def test_a_version_that_the_server_does_not_have_shows_where_the_server_knows_versions(
    server, tmp_path
):
    server.start(loaded=[A])
    with watching(server, tmp_path, f"--models={A}:99") as sidecar:
        sidecar.wait_for_line(
            f"[-]model:{A}:99 failed: model_not_found"
            if server.knows_versions
            else f"[+]model:{A}:99 ok"
        )
        assert sidecar.metric(model_ready(A, "99")) == (not server.knows_versions)


def test_a_model_that_turns_unready_stops_the_traffic_until_it_is_ready_again(server, tmp_path):
    server.start(loaded=[A, B])
    with watching(server, tmp_path, f"--models={A},{B}") as sidecar:
        sidecar.wait_for("/readyz", 200)

        server.set_ready(B, False)
        sidecar.wait_for_line(f"[-]model:{B} failed: not_ready")
        assert statuses(sidecar) == {"/healthz": 200, "/readyz": 503, "/startupz": 200}
        assert sidecar.get(f"/readyz/model:{A}").status == 200
        assert sidecar.get(f"/readyz/model:{B}").status == 503
        assert sidecar.metric(model_ready(A)) == 1
        assert sidecar.metric(model_ready(B)) == 0

        server.set_ready(B, True)
        sidecar.wait_for("/readyz", 200)
        assert sidecar.metric(model_ready(B)) == 1


def test_a_killed_server_gets_no_traffic_at_once_and_is_dead_after_three_failures(server, tmp_path):
    server.start(loaded=[A])
    # With rounds this far apart only the lost connection can tell.
    slow = ("--period-seconds=60", "--timeout-seconds=2", "--recovery-period-seconds=3")
    with watching(server, tmp_path, f"--models={A}", *slow) as sidecar:
        sidecar.wait_for("/readyz", 200)

        server.kill()
        failing = sidecar.wait_for("/readyz", 503, within=2)
        assert failing.text.splitlines() == [
            "[-]server-live failed: unreachable",
            "[-]server-ready failed: unreachable",
            f"[-]model:{A} failed: unreachable",
            "readyz check failed",
        ]
        assert statuses(sidecar) == {"/healthz": 200, "/readyz": 503, "/startupz": 200}
        assert sidecar.metric("inference_server_live") == 1
        assert sidecar.metric("inference_server_ready") == 0
        assert sidecar.metric(model_ready(A)) == 0

        dead = sidecar.wait_for("/healthz", 503)
        assert dead.text.splitlines() == [
            "[-]server-live failed: unreachable",
            "healthz check failed",
        ]
        assert sidecar.metric("inference_server_live") == 0
        assert sidecar.metric(failures("ServerLive", "unreachable")) >= 3


def test_a_killed_server_that_is_started_again_gets_traffic_again(server, tmp_path):
    server.start(loaded=[A])
    with watching(server, tmp_path, f"--models={A}") as sidecar:
        sidecar.wait_for("/readyz", 200)
        server.kill()
        sidecar.wait_for("/healthz", 503)

        server.start()
        sidecar.wait_for("/readyz", 200)
        assert statuses(sidecar) == {"/healthz": 200, "/readyz": 200, "/startupz": 200}
        assert sidecar.metric("inference_server_live") == 1
        assert sidecar.metric(model_ready(A)) == 1


def test_a_frozen_server_is_dead_after_three_timeouts_and_alive_when_it_answers(server, tmp_path):
    server.start(loaded=[A])
    with watching(server, tmp_path, f"--models={A}") as sidecar:
        sidecar.wait_for("/readyz", 200)

        server.signal(signal.SIGSTOP)
        dead = sidecar.wait_for("/healthz", 503)
        assert dead.text.splitlines() == [
            "[-]server-live failed: timeout",
            "healthz check failed",
        ]
        assert sidecar.get("/readyz").status == 503
        assert sidecar.metric(failures("ServerLive", "timeout")) >= 3
        assert sidecar.metric(failures("ServerLive", "unreachable")) == 0

        server.signal(signal.SIGCONT)
        sidecar.wait_for("/readyz", 200)
        assert sidecar.get("/healthz").status == 200
