"""Models that are found in the repositories of real servers."""

import json
import os
import shutil
import signal

import pytest

from tests.interop.inference_servers import KServe, MLServer, running
from tests.interop.torchserve import TorchServe
from tests.interop.tritons import PollingTriton, PyTriton, Triton
from tests.interop.watching import failures, model_ready, watching
from tests.support import Sidecar, wait_until

# The first run installs the servers.
pytestmark = pytest.mark.timeout(900)

OFTEN = ("--discover=true", "--discover-period-seconds=0.5")
A, B = "fp32", "int64"


def checks(sidecar: Sidecar) -> set[str]:
    """The names of the checks that /readyz has now."""
    lines = sidecar.get("/readyz?verbose").text.splitlines()
    return {line[3:].split()[0] for line in lines if line.startswith("[")}


def repository(sidecar: Sidecar) -> dict[str, str]:
    """The state of each model in /status."""
    document = json.loads(sidecar.get("/status").text)
    return {row["name"]: row["state"] for row in document["repository"]["models"]}


@pytest.mark.parametrize("kind", [Triton, MLServer])
def test_models_are_found_and_gate_readyz(kind, tmp_path):
    server = kind(tmp_path)
    with running(server, A, B), watching(server, tmp_path / "log", *OFTEN) as sidecar:
        sidecar.wait_for_line(f"[+]model:{A} ok")
        sidecar.wait_for_line(f"[+]model:{B} ok")
        sidecar.wait_for("/readyz", 200)
        assert checks(sidecar) == {
            "server-live",
            "server-ready",
            "repository",
            f"model:{A}",
            f"model:{B}",
        }
        assert sidecar.metric('inference_repository_models{state="ready"}') == 2
        assert sidecar.metric(model_ready(A)) == 1
        assert sidecar.get("/startupz").status == 200


def test_triton_s_loads_unloads_and_failed_loads_are_followed(tmp_path):
    server = Triton(tmp_path)
    server.add(B)
    with running(server, A), watching(server, tmp_path / "log", *OFTEN) as sidecar:
        sidecar.wait_for_line(f"[+]model:{A} ok")
        sidecar.wait_for("/readyz", 200)
        assert repository(sidecar) == {A: "ready", B: "not_loaded"}
        assert f"model:{B}" not in checks(sidecar)  # nobody has asked for it
        server.begin_load(B)
        sidecar.wait_for_line(f"[-]model:{B} failed: not_ready")
        server.load(B)
        sidecar.wait_for_line(f"[+]model:{B} ok")
        sidecar.wait_for("/readyz", 200)
        server.unload(B)
        wait_until(lambda: f"model:{B}" not in checks(sidecar))
        assert repository(sidecar)[B] == "unloaded"
        sidecar.wait_for("/readyz", 200)
        server.add("int8")
        server.begin_load("int8")
        sidecar.wait_for_line("[-]model:int8 failed: not_ready")
        server.fail("int8")
        wait_until(lambda: repository(sidecar)["int8"] == "unavailable")
        (record,) = wait_until(lambda: sidecar.records("model int8:1 is unavailable: "))
        assert "int8 was told to fail" in record["msg"]
        assert (sidecar.get("/readyz").status, sidecar.get("/startupz").status) == (503, 200)
        assert "told to fail" not in sidecar.get("/readyz?verbose").text
        assert "told to fail" not in sidecar.get("/metrics").text


def test_a_triton_that_polls_its_repository_is_followed(tmp_path):
    server = PollingTriton(tmp_path)
    with running(server, A), watching(server, tmp_path / "log", *OFTEN) as sidecar:
        sidecar.wait_for_line(f"[+]model:{A} ok")
        folder = server.add(B)
        server.load(B)
        sidecar.wait_for_line(f"[+]model:{B} ok")
        sidecar.wait_for("/readyz", 200)
        shutil.rmtree(folder)
        wait_until(lambda: f"model:{B}" not in checks(sidecar))
        sidecar.wait_for("/readyz", 200)


def test_what_is_excluded_configured_or_too_much_is_left_alone(tmp_path):
    server = Triton(tmp_path)
    names = ("fp32", "fp64", "int8", "int64")
    flags = (
        *OFTEN,
        "--models=fp64,absent",
        "--discover-exclude=int8",
        "--discover-maximum-models=1",
    )
    with running(server, *names), watching(server, tmp_path / "log", *flags) as sidecar:
        sidecar.wait_for_line("[+]model:fp32 ok")
        assert {name for name in checks(sidecar) if name.startswith("model:")} == {
            "model:fp32",
            "model:fp64",
            "model:absent",
        }
        assert repository(sidecar)["absent"] == "missing"
        assert sidecar.logged("discover_maximum_models is exceeded: 1 discovered models")


def test_too_few_models_are_not_ready(tmp_path):
    server = MLServer(tmp_path)
    flags = (*OFTEN, "--minimum-models=2")
    with running(server, A), watching(server, tmp_path / "log", *flags) as sidecar:
        sidecar.wait_for_line(f"[+]model:{A} ok")
        sidecar.wait_for_line("[-]repository failed: not_ready")
        assert (sidecar.get("/readyz").status, sidecar.get("/startupz").status) == (503, 200)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(KServe, "unimplemented"), (TorchServe, "unimplemented"), (PyTriton, "denied")],
)
def test_a_server_without_an_index_says_so_once_and_the_daemon_goes_on(kind, reason, tmp_path):
    server = kind(tmp_path)
    with (
        running(server, A),
        watching(server, tmp_path / "log", *OFTEN, f"--models={A}") as sidecar,
    ):
        sidecar.wait_for_line(f"[-]repository failed: {reason}")
        sidecar.wait_for_line(f"[+]model:{A} ok")
        wait_until(lambda: polls(sidecar) >= 3)
        assert len(sidecar.logged("models cannot be discovered")) == 1
        assert sidecar.get("/healthz").status == 200


def polls(sidecar: Sidecar) -> float:
    """How often the index was asked for."""
    return sidecar.metric('inference_poll_duration_seconds_count{rpc="RepositoryIndex"}')


def test_discovered_models_have_canaries_where_those_are_on(tmp_path):
    server = Triton(tmp_path)
    flags = (*OFTEN, "--canary=auto", "--canary-period-seconds=0.5", "--canary-timeout-seconds=3")
    with running(server, A, B), watching(server, tmp_path / "log", *flags) as sidecar:
        sidecar.wait_for_line(f"[+]canary:{A} ok")
        sidecar.wait_for_line(f"[+]canary:{B} ok")
        sidecar.wait_for("/readyz", 200)
        server.unload(B)
        wait_until(lambda: not {f"model:{B}", f"canary:{B}"} & checks(sidecar))
        for pid in server.workers(A):
            os.kill(pid, signal.SIGKILL)
        sidecar.wait_for_line(f"[-]canary:{A} failed: error")
        assert sidecar.get("/readyz").status == 503


def test_two_hundred_models_of_mlserver_are_found_and_its_liveness_is_not_lost(tmp_path):
    server = MLServer(tmp_path)
    names = [f"model-{number}" for number in range(200)]
    for name in names:
        server.add(name)
        server.load(name)
    # An index takes up to a second, in which MLServer answers nothing else: the defaults.
    flags = (*OFTEN, "--period-seconds=5", "--timeout-seconds=2")
    with running(server), watching(server, tmp_path / "log", *flags) as sidecar:
        ready = 'inference_repository_models{state="ready"}'
        wait_until(lambda: sidecar.metric(ready) == 200, within=30)
        wait_until(lambda: polls(sidecar) >= 2, within=120)
        assert sidecar.metric(failures("ServerLive", "timeout")) == 0
        assert sidecar.get("/healthz").status == 200


def test_six_hundred_models_of_triton_are_found(tmp_path):
    server = Triton(tmp_path)
    folder = server.add(A)
    for number in range(599):
        shutil.copytree(folder, folder.with_name(f"model-{number}"))
    with running(server), watching(server, tmp_path / "log", *OFTEN) as sidecar:
        wait_until(lambda: sidecar.metric('inference_repository_models{state="not_loaded"}') == 600)
        assert len(repository(sidecar)) == 600
        sidecar.wait_for_line("[-]repository failed: not_ready")  # none of them is loaded
        assert sidecar.get("/healthz").status == 200
