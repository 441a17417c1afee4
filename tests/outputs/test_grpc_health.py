"""grpc.health.v1 of the daemon as a process of its own, as gRPC clients speak it."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from sidecar.core.checks import SERVER_LIVE, SERVER_READY, Check, model_ready
from sidecar.core.snapshot import Policy, Snapshot
from sidecar.demo.server import ToyServer
from sidecar.oip import health as messages
from sidecar.outputs import grpc_health
from sidecar.outputs.grpc_health import GrpcHealth
from tests.core.folding import A, all_ok, initial
from tests.support import (
    Sidecar,
    clean_environment,
    eventually,
    free_port,
    running_sidecar,
    sidecar,
)

Status = messages.HealthCheckResponse.ServingStatus
SERVING, NOT_SERVING, SERVICE_UNKNOWN = Status.SERVING, Status.NOT_SERVING, Status.SERVICE_UNKNOWN
MODELS = ("a", "b:3")


class HealthClient:
    """The calls of grpc.health.v1 over one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        to_bytes = messages.HealthCheckRequest.SerializeToString
        reply = messages.HealthCheckResponse.FromString
        path = "/grpc.health.v1.Health/"
        self.check_call = channel.unary_unary(f"{path}Check", to_bytes, reply)
        self.watch_call = channel.unary_stream(f"{path}Watch", to_bytes, reply)
        to_bytes_of_list = messages.HealthListRequest.SerializeToString
        replies = messages.HealthListResponse.FromString
        self.list_call = channel.unary_unary(f"{path}List", to_bytes_of_list, replies)

    async def check(self, service: str = "") -> Any:
        reply = await self.check_call(
            messages.HealthCheckRequest(service=service), timeout=5, wait_for_ready=True
        )
        return reply.status

    def watch(self, service: str = "") -> Any:
        # The port is open a moment after that of HTTP.
        return self.watch_call(messages.HealthCheckRequest(service=service), wait_for_ready=True)

    async def statuses(self) -> dict[str, Status]:
        reply = await self.list_call(messages.HealthListRequest(), timeout=5, wait_for_ready=True)
        return {name: response.status for name, response in reply.statuses.items()}


async def following(watch) -> Any:
    """The next status of a watch."""
    return (await asyncio.wait_for(watch.read(), 10)).status


@pytest.fixture
async def server():
    async with ToyServer(dict.fromkeys(MODELS, True)) as started:
        yield started


@asynccontextmanager
async def beside(server: ToyServer, tmp_path, *flags: str):
    """A daemon that is ready, and a client of its grpc.health.v1."""
    port = free_port()
    models = ",".join(MODELS)
    flags = (f"--server-url=127.0.0.1:{server.port}", f"--models={models}", *flags)
    quick = ("--period-seconds=0.2", "--timeout-seconds=0.15", "--recovery-period-seconds=0.1")
    with running_sidecar(tmp_path / "log", f"--grpc-port={port}", *quick, *flags) as daemon:
        await asyncio.to_thread(daemon.wait_for, "/readyz", 200)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield daemon, HealthClient(channel), port


async def watchers(daemon: Sidecar) -> float:
    return await asyncio.to_thread(daemon.metric, "inference_grpc_health_watchers")


async def test_check_says_of_each_service_whether_it_serves(server, tmp_path):
    async with beside(server, tmp_path) as (daemon, client, _):
        assert {await client.check(s) for s in ("", "readyz", "model:a", "a", "b")} == {SERVING}
        server.models["a"] = False
        await asyncio.to_thread(daemon.wait_for, "/readyz", 503)
        assert [await client.check(s) for s in ("", "a", "b")] == [
            NOT_SERVING,
            NOT_SERVING,
            SERVING,
        ]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.check("nope")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_list_has_every_service(server, tmp_path):
    async with beside(server, tmp_path) as (_, client, _):
        found = await client.statuses()
        assert {"", "readyz", "livez", "server-live", "model:b:3", "b", "b:3", "a"} <= found.keys()
        assert set(found.values()) == {SERVING}


async def test_watch_sends_the_status_at_once_and_then_each_change(server, tmp_path):
    async with beside(server, tmp_path) as (daemon, client, _):
        watch, other = client.watch(), client.watch("b")
        assert (await following(watch), await following(other)) == (SERVING, SERVING)
        server.models["a"] = False
        assert await following(watch) == NOT_SERVING
        server.models["a"] = True
        assert await following(watch) == SERVING
        daemon.signal(15)
        assert (await following(watch), await following(other)) == (NOT_SERVING, NOT_SERVING)


async def test_watch_of_an_unknown_service_learns_when_it_appears(server, tmp_path):
    config = tmp_path / "sidecar.yaml"
    config.write_text("models: [a]")
    port = free_port()
    watched = (f"--server-url=127.0.0.1:{server.port}", f"--grpc-port={port}")
    reloads = (f"--config={config}", "--reload-interval-seconds=0.1")
    with running_sidecar(tmp_path / "log", *reloads, *watched):
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            watch = HealthClient(channel).watch("model:b:3")
            assert await following(watch) == SERVICE_UNKNOWN
            config.write_text(json.dumps({"models": ["a", "b:3"]}))
            assert await following(watch) in (NOT_SERVING, SERVING)
            config.write_text("models: [a]")
            while await following(watch) != SERVICE_UNKNOWN:
                pass


@asynccontextmanager
async def served(age: Callable[[], float] = float, models: Sequence[Check] = (A,), **limits: int):
    """The service of a health of this age, and a client of it."""
    health = all_ok(initial(SERVER_LIVE, SERVER_READY, *models))
    policy, port = Policy(max_age=10), free_port()
    service = GrpcHealth(lambda: Snapshot(health, age(), policy), "127.0.0.1", port, **limits)
    serving = asyncio.create_task(service.serve())
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield HealthClient(channel)
    finally:
        serving.cancel()
        await asyncio.wait({serving})


async def test_watch_learns_of_a_result_that_grows_stale():
    now = 0.0
    async with served(lambda: now) as client:
        watch = client.watch()
        assert await following(watch) == SERVING
        now = 11.0
        assert await following(watch) == NOT_SERVING


async def test_one_who_begins_to_watch_hides_no_change_from_others(monkeypatch):
    monkeypatch.setattr(grpc_health, "MIN_INTERVAL", 0)
    now = 0.0
    async with served(lambda: now) as client:
        first = client.watch()
        assert await following(first) == SERVING
        now = 11.0
        second = client.watch()
        await following(second)
        assert await following(first) == NOT_SERVING


async def test_too_many_services_are_not_listed():
    models = [model_ready(f"model-{number}") for number in range(600)]  # each has two names
    async with served(models=models) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.statuses()
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await client.check("model-7") == SERVING


async def test_a_thousand_watch_and_are_counted_and_forgotten(server, tmp_path):
    # The server is in this process, which a thousand watches keep busy.
    patient = ("--readiness-failure-threshold=1000", "--max-age-seconds=60")
    async with beside(server, tmp_path, *patient) as (daemon, client, _):
        watches = [client.watch("a") for _ in range(1000)]
        assert {await following(watch) for watch in watches} == {SERVING}
        assert await watchers(daemon) == 1000
        server.models["a"] = False
        found = await asyncio.gather(*(following(watch) for watch in watches))
        assert set(found) == {NOT_SERVING}


async def test_more_watchers_than_allowed_are_refused():
    async with served(max_watchers=3) as client:
        watches = [client.watch("a") for _ in range(3)]
        assert {await following(watch) for watch in watches} == {SERVING}
        one_more = client.watch("a")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await following(one_more)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await client.check("a") == SERVING


async def test_a_watcher_that_goes_is_forgotten(server, tmp_path):
    async with beside(server, tmp_path) as (daemon, client, _):
        watch = client.watch()
        assert await following(watch) == SERVING
        assert await watchers(daemon) == 1
        watch.cancel()
        await eventually(lambda: daemon.metric("inference_grpc_health_watchers") == 0)


def test_a_port_that_is_taken_ends_it_with_1(tmp_path):
    port = free_port()
    with running_sidecar(tmp_path / "log", f"--grpc-port={port}"):
        done = sidecar("run", f"--grpc-port={port}", f"--http-port={free_port()}")
    assert done.returncode == 1
    assert f"port {port}: Address already in use" in done.stderr


def test_the_same_port_twice_is_refused():
    done = sidecar("config", "--grpc-port=9808")
    assert done.returncode == 2
    assert "grpc_port: given '9808' by --grpc-port: the same as http_port, 9808" in done.stderr


def test_it_is_not_imported_while_it_is_off():
    code = "import sys, sidecar.runtime; print('sidecar.outputs.grpc_health' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=clean_environment(),
        check=True,
    )
    assert done.stdout == "False\n"
