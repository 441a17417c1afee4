"""Real servers whose readiness says that all is well while no inference succeeds."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.interop.canaries import CANARY, MODEL, PERIOD, RECOVERY, TIMEOUT, request_for
from tests.interop.inference_servers import (
    InferenceServer,
    KServe,
    MLServerWithWorker,
    MLServerWithWorkers,
)
from tests.interop.torchserve import TorchServe
from tests.interop.tritons import STUB, PyTriton, Triton, TritonWithTwoInstances
from tests.interop.watching import watching

# The first run installs the servers.
pytestmark = pytest.mark.timeout(900)

# On Triton a reply of a dead stub takes a second, and this machine is slow and shared.
SLACK = 4
FAILS = PERIOD + RECOVERY + 2 + SLACK
HANGS = PERIOD + 2 * TIMEOUT + SLACK

KINDS = (KServe, MLServerWithWorker, Triton, PyTriton, TorchServe)


class Trouble(NamedTuple):
    """Something by which no inference succeeds while the server calls itself ready.

    reasons:  what the canary comes to, by the kind of server; a server that is missing here
              has no such trouble, or says that it is not ready.
    ends:     None where only a restart of the server ends it.
    """

    begins: Callable[[InferenceServer], None]
    ends: Callable[[InferenceServer], None] | None
    reasons: Mapping[type[InferenceServer], str]


def broken(how: str) -> tuple[Callable[[InferenceServer], None], Callable[[InferenceServer], None]]:
    """The model does this from now on, and no longer."""
    return (
        lambda server: server.break_inference(MODEL, how),
        lambda server: server.mend_inference(MODEL, how),
    )


def sent(
    signum: signal.Signals, words: tuple[str, ...] | None = None, most: int | None = None
) -> Callable[[InferenceServer], None]:
    """Sends a signal to the workers of the model, at most to so many."""

    def send(server: InferenceServer) -> None:
        workers = server.workers(MODEL, words)
        assert workers
        for pid in workers[:most]:
            os.kill(pid, signum)

    return send


def scaled(workers: int) -> Callable[[InferenceServer], None]:
    """Has TorchServe run so many workers."""

    def scale(server: InferenceServer) -> None:
        assert isinstance(server, TorchServe)
        server.scale(MODEL, workers)

    return scale


STOPPED, GOES_ON = sent(signal.SIGSTOP), sent(signal.SIGCONT)
TRITONS: Mapping[type[InferenceServer], str] = {Triton: "error", PyTriton: "error"}

TROUBLES = {
    "the model raises": Trouble(*broken("raise"), dict.fromkeys(KINDS, "error")),
    "the model hangs": Trouble(*broken("hang"), dict.fromkeys(KINDS, "timeout")),
    "its worker was killed and does not come back": Trouble(sent(signal.SIGKILL), None, TRITONS),
    # Not TorchServe's: requests wait for the new worker, which comes within two seconds.
    "its worker was killed and comes back by itself": Trouble(
        sent(signal.SIGKILL), lambda _: None, {MLServerWithWorker: "error"}
    ),
    "the stub before its worker was killed": Trouble(
        sent(signal.SIGKILL, STUB), None, {PyTriton: "error"}
    ),
    "its worker is stopped": Trouble(
        STOPPED,
        GOES_ON,
        {MLServerWithWorker: "timeout", PyTriton: "timeout", TorchServe: "timeout"},
    ),
    # It aborts when a stub that was stopped and asked goes on.
    "its worker is stopped, on Triton": Trouble(STOPPED, None, {Triton: "error"}),
    "there are no file descriptors": Trouble(
        InferenceServer.exhaust_descriptors,
        InferenceServer.restore_descriptors,
        dict.fromkeys(KINDS, "timeout"),
    ),
    "it was scaled to no workers": Trouble(scaled(0), scaled(1), {TorchServe: "error"}),
}


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


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=list(TROUBLES))
def test_a_model_whose_inferences_fail_gets_no_traffic_and_gets_it_back(server, tmp_path, trouble):
    reason = trouble.reasons.get(type(server))
    if reason is not None:
        meet(server, tmp_path, trouble, reason, HANGS if reason == "timeout" else FAILS)


ONE_OF_TWO = {
    TritonWithTwoInstances: Trouble(
        sent(signal.SIGKILL, most=1), None, {TritonWithTwoInstances: "error"}
    ),
    MLServerWithWorkers: Trouble(
        sent(signal.SIGSTOP, most=1), GOES_ON, {MLServerWithWorkers: "timeout"}
    ),
}


@pytest.mark.parametrize(("kind", "trouble"), ONE_OF_TWO.items())
def test_one_of_two_workers_that_fails_is_found(kind, trouble, tmp_path):
    server = kind(tmp_path)
    try:
        server.start(loaded=[MODEL])
        # Every second request succeeds, so that it takes twice as many.
        meet(server, tmp_path, trouble, trouble.reasons[kind], 2 * HANGS)
    finally:
        server.kill()


def restricted(server: InferenceServer) -> None:
    """Triton answers health calls alone, from now on."""
    assert isinstance(server, Triton)
    server.restrict("inference")
    server.restart()
    server.restrict("")


def test_inference_that_is_restricted_is_found(tmp_path):
    trouble = Trouble(restricted, None, {Triton: "denied"})
    server = Triton(tmp_path)
    try:
        server.start(loaded=[MODEL])
        meet(server, tmp_path, trouble, "denied", 20)
    finally:
        server.kill()


def test_a_model_that_loads_is_not_ready_on_torchserve(tmp_path):
    server = TorchServe(tmp_path)
    try:
        server.start(loading=[MODEL])
        with (
            watching(server, tmp_path / "off", f"--models={MODEL}") as off,
            watching(server, tmp_path / "on", request_for(server, tmp_path), *CANARY) as on,
        ):
            off.wait_for("/readyz", 200)
            on.wait_for_line(f"[-]canary:{MODEL} failed: timeout", within=HANGS)
            server.load(MODEL)
            on.wait_for("/readyz", 200)
    finally:
        server.kill()


def meet(
    server: InferenceServer, folder: Path, trouble: Trouble, reason: str, within: float
) -> None:
    """Sees a trouble begin and end, with canaries and without."""
    with (
        watching(server, folder / "off", f"--models={MODEL}") as off,
        watching(server, folder / "on", request_for(server, folder), *CANARY) as on,
    ):
        off.wait_for("/readyz", 200)
        on.wait_for("/readyz", 200)
        trouble.begins(server)
        on.wait_for_line(f"[-]canary:{MODEL} failed: {reason}", within=within)
        off.wait_for("/readyz", 200)  # which is what the canary is for
        assert on.get("/healthz").status == 200
        if trouble.ends is None:
            server.restart()
        else:
            trouble.ends(server)
        on.wait_for("/readyz", 200, within=20 if trouble.ends is None else within)
        off.wait_for("/readyz", 200)


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
        for pid in triton.workers("int8"):
            os.kill(pid, signal.SIGKILL)
        on.wait_for_line("[-]canary:int8 failed: error", within=FAILS)
        assert on.get("/healthz").status == 200
        on.wait_for_line("[-]canary:int8 failed: error", "/healthz", within=4 + FAILS)
        assert on.metric("inference_restarts_requested_total") == 1
        assert (off.get("/readyz").status, off.get("/healthz").status) == (200, 200)
