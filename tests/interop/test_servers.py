"""The sidecar as its own process against real servers: five servers, one meaning."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.inference_servers import InferenceServer, KServe, MLServer
from tests.interop.torchserve import TorchServe
from tests.interop.tritons import PyTriton, Triton
from tests.interop.watching import (
    failures,
    line,
    model_ready,
    statuses,
    wait_for_readyz,
    watching,
)
from tests.support import wait_until

# The first run installs the servers.
pytestmark = pytest.mark.timeout(900)

KINDS = (KServe, MLServer, Triton, PyTriton, TorchServe)
# Triton's models are named by their datatypes.
A, B, C = "fp32", "int64", "int32"


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[InferenceServer]:
    """A real server that is not started yet."""
    server: InferenceServer = request.param(tmp_path)
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__, scope="module")
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[InferenceServer]:
    """A real server with three models, which some tests have in common; C is one test's own."""
    server: InferenceServer = request.param(tmp_path_factory.mktemp("shared"))
    try:
        server.start(loaded=[A, B, C])
        yield server
    finally:
        server.kill()


def test_models_that_are_ready_pass_everywhere(shared, tmp_path):
    with watching(shared, tmp_path / "log", f"--models={A},{B}") as sidecar:
        wait_for_readyz(sidecar, "ok", "ok", **{A: "ok", B: "ok"})
        assert statuses(sidecar) == (200, 200, 200)
        name, version = shared.identity
        info = f'inference_server_info{{name="{name}",version="{version}"}}'
        wait_until(lambda: f"{info} 1.0" in sidecar.get("/metrics").text)
        assert sidecar.metric("inference_server_live") == 1
        assert sidecar.metric("inference_server_ready") == 1
        assert sidecar.metric(model_ready(A)) == 1
        assert sidecar.metric(model_ready(B)) == 1


def test_a_model_or_a_version_that_the_server_does_not_have_is_not_ready(shared, tmp_path):
    words = shared.words
    models = {
        A: "ok",
        "missing": words.missing,
        f"{A}:1": words.version_1,
        f"{A}:99": words.version_99,
        f"{A}:abc": words.version_abc,
    }
    with watching(shared, tmp_path / "log", f"--models={','.join(models)}") as sidecar:
        wait_for_readyz(sidecar, "ok", "ok", **models)
        assert statuses(sidecar) == (200, 503, 503)
        assert sidecar.metric(model_ready("missing")) == 0
        assert sidecar.metric(failures("ModelReady", words.missing)) >= 1
        for version in ("1", "99", "abc"):
            ready = models[f"{A}:{version}"] == "ok"
            assert sidecar.metric(model_ready(A, version)) == ready


def test_a_model_that_is_unloaded_stops_the_traffic(shared, tmp_path):
    with watching(shared, tmp_path / "log", f"--models={A},{C}") as sidecar:
        sidecar.wait_for("/readyz", 200)

        shared.unload(C)
        wait_for_readyz(sidecar, "ok", "ok", **{A: "ok", C: shared.words.missing})
        assert statuses(sidecar) == (200, 503, 200)
        assert sidecar.metric(model_ready(A)) == 1
        assert sidecar.metric(model_ready(C)) == 0


@pytest.mark.parametrize("shared", [KServe, MLServer], indirect=True)
def test_a_model_that_turns_unready_stops_the_traffic_until_it_is_ready_again(shared, tmp_path):
    with watching(shared, tmp_path / "log", f"--models={A},{B}") as sidecar:
        sidecar.wait_for("/readyz", 200)

        shared.set_ready(B, False)
        wait_for_readyz(sidecar, "ok", shared.words.server_loading, **{A: "ok", B: "not_ready"})
        assert statuses(sidecar) == (200, 503, 200)
        assert sidecar.get(f"/readyz/model:{A}").status == 200
        assert sidecar.get(f"/readyz/model:{B}").status == 503
        assert sidecar.metric(model_ready(A)) == 1
        assert sidecar.metric(model_ready(B)) == 0

        shared.set_ready(B, True)
        sidecar.wait_for("/readyz", 200)
        assert sidecar.metric(model_ready(B)) == 1


def test_a_frozen_server_is_dead_after_three_timeouts_and_alive_when_it_answers(shared, tmp_path):
    with watching(shared, tmp_path / "log", f"--models={A}") as sidecar:
        sidecar.wait_for("/readyz", 200)

        shared.signal(signal.SIGSTOP)
        try:
            dead = sidecar.wait_for("/healthz", 503)
        finally:
            shared.signal(signal.SIGCONT)
        assert dead.text.splitlines() == [
            "[-]server-live failed: timeout",
            "healthz check failed",
        ]
        assert sidecar.metric(failures("ServerLive", "timeout")) >= 3
        assert sidecar.metric(failures("ServerLive", "unreachable")) == 0

        sidecar.wait_for("/readyz", 200)
        assert sidecar.get("/healthz").status == 200


def test_a_model_that_loads_is_waited_for_while_the_server_lives(server, tmp_path):
    words = server.words
    server.start(loaded=[A], loading=[B])
    with watching(server, tmp_path / "log", f"--models={A},{B}") as sidecar:
        wait_for_readyz(sidecar, "ok", words.server_loading, **{A: "ok", B: words.loading})
        ready = words.loading == "ok"
        assert statuses(sidecar) == ((200, 200, 200) if ready else (200, 503, 503))
        assert sidecar.metric("inference_server_ready") == (words.server_loading == "ok")
        assert sidecar.metric(model_ready(A)) == 1
        assert sidecar.metric(model_ready(B)) == ready
        if not ready:
            assert sidecar.metric(failures("ModelReady", words.loading)) >= 1

        server.load(B)
        sidecar.wait_for("/readyz", 200)
        assert statuses(sidecar) == (200, 200, 200)
        assert sidecar.metric(model_ready(B)) == 1


def test_a_model_whose_load_fails_gets_no_traffic(server, tmp_path):
    words = server.words
    server.start(loaded=[A], loading=[B])
    with watching(server, tmp_path / "log", f"--models={A},{B}") as sidecar:
        sidecar.wait_for_line(line(f"model:{A}", "ok"))

        server.fail(B)
        gone = words.failed == "unreachable"
        others = "unreachable" if gone else "ok"
        wait_for_readyz(sidecar, others, words.server_failed, **{A: others, B: words.failed})
        assert sidecar.get("/readyz").status == 503
        assert sidecar.metric(model_ready(A)) == (not gone)
        assert sidecar.metric(model_ready(B)) == 0


def test_a_server_that_exits_gets_no_traffic(server, tmp_path):
    word = server.words.exiting
    server.start(loaded=[A])
    # So long it lives on: an exit is no death that the kubelet need hear of.
    patient = "--liveness-failure-threshold=100"
    with watching(server, tmp_path / "log", f"--models={A}", patient) as sidecar:
        sidecar.wait_for("/readyz", 200)

        server.terminate()
        sidecar.wait_for_line(line("server-live", word))
        assert statuses(sidecar)[:2] == (200, 503)
        assert sidecar.metric(failures("ServerLive", word)) >= 1
        # Once it is gone it is gone.
        gone = "unreachable"
        wait_for_readyz(sidecar, gone, gone, **{A: gone})
        # What comes next has its own start-up.
        assert statuses(sidecar) == (200, 503, 503)


def test_a_killed_server_gets_no_traffic_at_once_and_is_dead_after_three_failures(server, tmp_path):
    server.start(loaded=[A])
    # With rounds this far apart only the lost connection can tell.
    slow = ("--period-seconds=60", "--timeout-seconds=2", "--recovery-period-seconds=1")
    with watching(server, tmp_path / "log", f"--models={A}", *slow) as sidecar:
        sidecar.wait_for("/readyz", 200)

        server.kill()
        failing = sidecar.wait_for("/readyz", 503, within=2)
        assert failing.text.splitlines() == [
            "[-]server-live failed: unreachable",
            "[-]server-ready failed: unreachable",
            f"[-]model:{A} failed: unreachable",
            "readyz check failed",
        ]
        assert statuses(sidecar) == (200, 503, 503)
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

        server.start()
        sidecar.wait_for("/readyz", 200)
        assert statuses(sidecar) == (200, 200, 200)
        assert sidecar.metric("inference_server_live") == 1
        assert sidecar.metric(model_ready(A)) == 1
