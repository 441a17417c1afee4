"""Real servers whose readiness says that all is well while no inference succeeds."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.inference_servers import InferenceServer, KServe, MLServer
from tests.interop.torchserve import TorchServe
from tests.interop.tritons import PyTriton, Triton
from tests.interop.watching import watching

# The first run installs the servers.
pytestmark = pytest.mark.timeout(900)

KINDS = (KServe, MLServer, Triton, PyTriton, TorchServe)
MODEL = "fp32"
PERIOD, TIMEOUT, RECOVERY = 1.0, 1.0, 0.1
CANARY = (
    f"--canary-period-seconds={PERIOD}",
    f"--canary-timeout-seconds={TIMEOUT}",
    "--canary-success-threshold=1",
)
# On Triton a reply of a dead stub takes a second, and this machine is slow and shared.
SLACK = 4
FAILS = PERIOD + RECOVERY + 2 + SLACK
HANGS = PERIOD + 2 * TIMEOUT + SLACK


def shape_of(server: InferenceServer) -> list[int]:
    """Triton's models have a single dimension, PyTriton puts the batch before it."""
    return [2] if isinstance(server, Triton) else [1, 2]


def request_for(server: InferenceServer, folder: Path) -> str:
    """The settings of the model with the request that the server takes."""
    request = {
        "inputs": [{"name": "x", "shape": shape_of(server), "datatype": "FP32", "data": [1.0, 2.0]}]
    }
    file = folder / "request.json"
    file.write_text(json.dumps(request))
    model = [{"name": MODEL, "canary": {"request": str(file)}}]
    return f"--models={json.dumps(model)}"


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__, scope="module")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[InferenceServer]:
    """A real server with one model."""
    started: InferenceServer = request.param(tmp_path_factory.mktemp("server"))
    try:
        started.start(loaded=[MODEL])
        yield started
    finally:
        started.kill()


@pytest.mark.parametrize(
    ("how", "reason", "within"), [("raise", "error", FAILS), ("hang", "timeout", HANGS)]
)
def test_a_model_whose_inferences_fail_gets_no_traffic_and_gets_it_back(
    server, tmp_path, how, reason, within
):
    with (
        watching(server, tmp_path / "off", f"--models={MODEL}") as off,
        watching(server, tmp_path / "on", request_for(server, tmp_path), *CANARY) as on,
    ):
        off.wait_for("/readyz", 200)
        on.wait_for("/readyz", 200)
        server.break_inference(MODEL, how)
        began = time.monotonic()
        on.wait_for_line(f"[-]canary:{MODEL} failed: {reason}", within=within)
        assert time.monotonic() - began <= within
        assert off.get("/readyz").status == 200  # which is what the canary is for
        assert on.get("/healthz").status == 200
        server.mend_inference(MODEL, how)
        on.wait_for("/readyz", 200, within=within)
        assert off.get("/readyz").status == 200


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    """A Triton with a model of each datatype that some test builds a request for."""
    server = Triton(tmp_path_factory.mktemp("triton"))
    try:
        server.add_stream("stream")
        server.start(loaded=[*DATATYPES])
        yield server
    finally:
        server.kill()


DATATYPES = ("fp32", "fp16", "fp64", "int8", "int64", "uint8", "bool", "bytes")


def test_what_is_built_is_accepted_for_every_datatype_and_for_a_decoupled_model(triton, tmp_path):
    models = ",".join((*DATATYPES, "stream"))
    with watching(triton, tmp_path / "log", f"--models={models}", "--canary=auto", *CANARY) as one:
        for model in models.split(","):
            one.wait_for_line(f"[+]canary:{model} ok")
        assert one.get("/readyz").status == 200
        assert one.metric('inference_canary_results_total{reason="ok"}') >= len(models.split(","))
        assert one.metric('inference_canary_results_total{reason="invalid_request"}') == 0


def stub_of(model: str) -> int:
    """The process that runs a model of Triton's python backend."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"triton_python_backend_stub") and f"/{model}/".encode() in words[1]:
            return int(folder.name)
    raise AssertionError(f"{model} has no stub")


def test_a_dead_stub_stops_the_traffic_and_asks_for_a_restart(triton, tmp_path):
    with (
        watching(triton, tmp_path / "off", "--models=int8") as off,
        watching(
            triton,
            tmp_path / "on",
            "--models=int8",
            "--canary=auto",
            *CANARY,
            "--canary-restart-after-seconds=4",
        ) as on,
    ):
        off.wait_for("/readyz", 200)
        on.wait_for("/readyz", 200)
        on.wait_for_line("[+]canary:int8 ok")
        os.kill(stub_of("int8"), signal.SIGKILL)
        on.wait_for_line("[-]canary:int8 failed: error", within=FAILS)
        assert on.get("/healthz").status == 200
        on.wait_for_line("[-]canary:int8 failed: error", "/healthz", within=4 + FAILS)
        assert on.metric("inference_restarts_requested_total") == 1
        assert (off.get("/readyz").status, off.get("/healthz").status) == (200, 200)
