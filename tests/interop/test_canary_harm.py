"""What canaries must not do to a real server, and what they must not be misled by."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from sidecar.client import InferenceGRPCClient, InferInput, InferRequest
from tests.interop.canaries import CANARY, MODEL, PERIOD, TIMEOUT, request_for, shape_of
from tests.interop.inference_servers import (
    InferenceServer,
    KServe,
    MLServer,
    MLServerWithWorker,
    running,
)
from tests.interop.tritons import Triton
from tests.interop.watching import watching
from tests.support import Sidecar, wait_until

# The first run installs the servers.
pytestmark = pytest.mark.timeout(900)


@asynccontextmanager
async def crowd(server: InferenceServer, clients: int) -> AsyncIterator[None]:
    """So many clients, each of which sends an inference when the last one is answered."""
    data = InferInput("x", shape_of(server), "FP32", data=[1.0, 2.0])

    async def infer_on_and_on(client: InferenceGRPCClient) -> None:
        while True:
            await client.infer(InferRequest(MODEL, [data]), timeout=60)

    async with InferenceGRPCClient(f"127.0.0.1:{server.port}") as client, asyncio.TaskGroup() as g:
        tasks = [g.create_task(infer_on_and_on(client)) for _ in range(clients)]
        yield
        for task in tasks:
            task.cancel()


def statuses_during(sidecar: Sidecar, path: str, seconds: float) -> set[int]:
    """The statuses of an endpoint, asked ten times a second."""
    found, end = set(), time.monotonic() + seconds
    while time.monotonic() < end:
        found.add(sidecar.get(path).status)
        time.sleep(0.1)
    return found


def busy(sidecar: Sidecar) -> float:
    """How many results were busy."""
    return sidecar.metric('inference_canary_results_total{reason="busy"}')


@pytest.mark.parametrize("kind", [KServe, MLServer])
def test_an_inference_that_silences_its_server_never_takes_healthz_down(kind, tmp_path):
    server, lasts = kind(tmp_path), 8.0
    quick = ("--period-seconds=0.5", "--timeout-seconds=0.4", "--canary-timeout-seconds=20")
    with running(server, MODEL):
        server.slow_inference(MODEL, lasts)
        with (
            # The same server as one without canaries sees it: silent for as long as a dead one.
            watching(server, tmp_path / "off", f"--models={MODEL}", *quick) as off,
            watching(server, tmp_path / "on", request_for(server, tmp_path), *quick) as on,
        ):
            assert statuses_during(on, "/healthz", lasts + 1) == {200}
            off.wait_for_line("healthz check passed", "/healthz?verbose")
            wait_until(
                lambda: on.metric('inference_canary_results_total{reason="ok"}') >= 1, within=20
            )
            record = "server-live is NOT_SERVING for liveness"
            assert (bool(off.records(record)), bool(on.records(record))) == (True, False)


@pytest.mark.parametrize("kind", [Triton, MLServerWithWorker])
async def test_a_queue_of_a_hundred_times_the_concurrency_is_no_failure(kind, tmp_path):
    server = kind(tmp_path)
    flags = [request_for(server, tmp_path), *CANARY, "--canary-restart-after-seconds=4"]
    if isinstance(server, MLServer):
        flags.append(f"--progress-metrics-url=http://127.0.0.1:{server.metrics_port}/metrics")
    with running(server, MODEL), watching(server, tmp_path / "log", *flags) as sidecar:
        await asyncio.to_thread(sidecar.wait_for, "/readyz", 200)
        server.slow_inference(MODEL, 0.02 * TIMEOUT)  # so that a canary waits for two time-outs
        async with crowd(server, 100):
            seen = await asyncio.to_thread(statuses_during, sidecar, "/readyz", 30 * TIMEOUT)
            assert await asyncio.to_thread(busy, sidecar) >= 3
        assert seen == {200}
        assert sidecar.metric("inference_restarts_requested_total") == 0
        assert sidecar.metric("inference_restarts_withheld_total") == 0


def test_triton_exits_after_one_inference_at_most(tmp_path):
    server, lasts = Triton(tmp_path), 4.0
    with running(server, MODEL):
        server.slow_inference(MODEL, lasts)
        flags = ("--canary-timeout-seconds=0.2", "--canary-period-seconds=0.2")
        with watching(server, tmp_path / "log", request_for(server, tmp_path), *flags) as sidecar:
            results = 'inference_canary_results_total{reason="timeout"}'
            wait_until(lambda: sidecar.metric(results) >= 10, within=20)  # and is given up
            began = time.monotonic()
            server.terminate()
            wait_until(server.has_exited, within=20)
            # Three seconds are its own; ten cancelled requests would take forty.
            assert time.monotonic() - began < lasts + 3 + 2


CACHE = "--cache-config=local,size=1048576"
CACHED = "response_cache { enable: true }"


def test_a_response_cache_does_not_hide_a_dead_worker_from_a_built_canary(tmp_path):
    server = Triton(tmp_path, CACHE)
    server.add(MODEL, CACHED)
    server.load(MODEL)
    with (
        running(server),
        watching(
            server, tmp_path / "log", f"--models={MODEL}", "--canary=auto", *CANARY
        ) as sidecar,
    ):
        wait_until(lambda: sidecar.metric('inference_canary_results_total{reason="ok"}') >= 3)
        assert hits(server) == 0
        for pid in server.workers(MODEL):
            os.kill(pid, signal.SIGKILL)
        sidecar.wait_for_line(f"[-]canary:{MODEL} failed: error", within=10)


def test_a_given_request_that_is_answered_from_a_cache_is_said(tmp_path):
    server = Triton(tmp_path, CACHE)
    server.add(MODEL, CACHED)
    server.load(MODEL)
    with (
        running(server),
        watching(server, tmp_path / "log", request_for(server, tmp_path), *CANARY) as sidecar,
    ):
        said = f"canary:{MODEL} was answered from the server's response cache"
        wait_until(lambda: sidecar.records(said), within=10)
        assert hits(server) >= 1


def hits(server: InferenceServer) -> int:
    """How many replies its cache has given."""

    async def ask() -> int:
        async with InferenceGRPCClient(f"127.0.0.1:{server.port}") as client:
            (found,) = await client.model_statistics(MODEL)
            return found.cache_hit

    return asyncio.run(ask())


def dimensions(server: InferenceServer) -> int:
    """How many its model's input has."""

    async def ask() -> int:
        async with InferenceGRPCClient(f"127.0.0.1:{server.port}") as client:
            (tensor,) = (await client.model_metadata(MODEL)).inputs
            return len(tensor.shape)

    return asyncio.run(ask())


async def test_a_full_queue_is_busy_and_keeps_the_status_until_it_is_stale(tmp_path):
    server = Triton(tmp_path)
    most = "dynamic_batching { default_queue_policy { max_queue_size: 1 } }"
    server.add(MODEL, f"max_batch_size: 1\n{most}")
    server.load(MODEL)
    with (
        running(server),
        watching(
            server, tmp_path / "log", f"--models={MODEL}", "--canary=auto", *CANARY
        ) as sidecar,
    ):
        await asyncio.to_thread(sidecar.wait_for_line, f"[+]canary:{MODEL} ok")
        server.break_inference(MODEL, "hang")
        data = InferInput("x", [1, 2], "FP32", data=[1.0, 2.0])
        async with InferenceGRPCClient(f"127.0.0.1:{server.port}") as client:
            requests = [
                asyncio.create_task(client.infer(InferRequest(MODEL, [data]), timeout=60))
                for _ in range(4)
            ]
            await asyncio.wait(requests, return_when=asyncio.FIRST_EXCEPTION)  # the queue is full
            before = busy(sidecar)
            await asyncio.to_thread(wait_until, lambda: busy(sidecar) > before)
            assert sidecar.get("/readyz").status == 200
            stale = 3 * PERIOD + TIMEOUT
            await asyncio.to_thread(sidecar.wait_for, "/readyz", 503, within=2 * stale)
            assert sidecar.get("/healthz").status == 200
            server.mend_inference(MODEL, "hang")
            found = await asyncio.gather(*requests, return_exceptions=True)
        refused = [error.code() for error in found if isinstance(error, grpc.aio.AioRpcError)]
        assert set(refused) == {grpc.StatusCode.UNAVAILABLE}
        await asyncio.to_thread(sidecar.wait_for, "/readyz", 200)


@pytest.mark.parametrize(
    "settings",
    [
        "sequence_batching { }",
        "max_batch_size: 4\nsequence_batching { oldest { max_candidate_sequences: 2 } }",
        "max_batch_size: 4\ndynamic_batching { max_queue_delay_microseconds: 200000 }",
    ],
    ids=["sequences", "oldest sequences", "dynamic batches"],
)
def test_what_is_built_is_accepted_by_each_batcher(settings, tmp_path):
    server = Triton(tmp_path)
    server.add(MODEL, settings)
    server.load(MODEL)
    with (
        running(server),
        watching(
            server, tmp_path / "log", f"--models={MODEL}", "--canary=auto", *CANARY
        ) as sidecar,
    ):
        wait_until(lambda: sidecar.metric('inference_canary_results_total{reason="ok"}') >= 3)
        assert sidecar.get("/readyz").status == 200


def test_a_bad_request_that_is_given_stops_the_traffic_and_never_asks_for_a_restart(tmp_path):
    server = Triton(tmp_path)
    request = {"inputs": [{"name": "y", "shape": [2], "datatype": "FP32", "data": [1.0, 2.0]}]}
    (tmp_path / "bad.json").write_text(json.dumps(request))
    models = json.dumps([{"name": MODEL, "canary": {"request": str(tmp_path / "bad.json")}}])
    flags = (f"--models={models}", *CANARY, "--canary-restart-after-seconds=3")
    with running(server, MODEL), watching(server, tmp_path / "log", *flags) as sidecar:
        sidecar.wait_for_line(f"[-]canary:{MODEL} failed: invalid_request")
        assert statuses_during(sidecar, "/healthz", 5) == {200}


def test_a_model_whose_metadata_changes_is_asked_by_the_new_one(tmp_path):
    server = Triton(tmp_path)
    folder = server.add(MODEL)
    server.load(MODEL)
    with (
        running(server),
        watching(
            server, tmp_path / "log", f"--models={MODEL}", "--canary=auto", *CANARY
        ) as sidecar,
    ):
        sidecar.wait_for_line(f"[+]canary:{MODEL} ok")
        config = folder / "config.pbtxt"
        config.write_text(config.read_text().replace("dims: [-1]", "dims: [-1, 3]"))
        server.begin_load(MODEL)
        wait_until(lambda: dimensions(server) == 2, within=15)
        before = sidecar.metric('inference_canary_results_total{reason="ok"}')
        wait_until(
            lambda: sidecar.metric('inference_canary_results_total{reason="ok"}') > before + 2,
            within=15,
        )
        assert sidecar.get("/readyz").status == 200
        assert sidecar.metric('inference_canary_results_total{reason="invalid_request"}') == 0
