"""Events as they reach an API server: strict as Kubernetes' own, or misbehaving."""

import asyncio
import contextlib
import itertools
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from sidecar.core.checks import SERVER_LIVE, Check, model_ready
from sidecar.core.snapshot import Policy, Snapshot
from sidecar.demo.server import ToyServer
from sidecar.outputs.kubernetes import api as module_of_api
from sidecar.outputs.kubernetes import events as module
from sidecar.outputs.kubernetes.api import ApiServer, in_cluster_url
from sidecar.outputs.kubernetes.events import MAX_SERIES, KubernetesEvents, Pace
from sidecar.outputs.kubernetes.notes import MAX_PENDING_CHECKS, Pod
from sidecar.store import HealthStore
from tests.core.folding import A, B, all_ok, initial, saw
from tests.kube_api import NAMESPACE, KubeApi, status
from tests.support import eventually, free_port, python, running_sidecar

POD = Pod("triton-0", "7d2a9c1e-0000-4000-8000-1234567890ab")
QUICK = Pace(settle=0.05, soon=0.01, tick=0.02, window=0.5, backoff=0.02, max_backoff=0.05)


class Told:
    """A store whose changes are told, and when it is."""

    def __init__(
        self, api: ApiServer, pace: Pace = QUICK, optional: frozenset[Check] = frozenset()
    ) -> None:
        self.now = 0.0
        self.policy = Policy(1000, optional=optional, require_server_ready=False)
        self.events = KubernetesEvents(self.snapshot, POD, api, pace=pace)
        self.store = HealthStore(initial(), [self.events])

    def snapshot(self) -> Snapshot:
        return Snapshot(self.store.health, self.now, self.policy)

    def saw(self, *answers: tuple[Check, str]) -> None:
        for check, answer in answers:
            self.store.record(saw(check, answer, self.now))

    def make_ready(self) -> None:
        self.saw(*((check, "ok") for check in self.store.health.checks))

    def result(self, name: str) -> int:
        return self.events.results()[name]

    async def done(self, count: int) -> None:
        """Until so many Events were created or counted up."""
        await eventually(lambda: self.result("created") + self.result("counted") >= count)

    @contextlib.asynccontextmanager
    async def running(self):
        task = asyncio.create_task(self.events.run())
        try:
            yield self
        finally:
            assert not task.done(), task.exception()
            task.cancel()
            await asyncio.wait([task])


@pytest.fixture
async def api(pki, tmp_path):
    directory = tmp_path / "serviceaccount"
    directory.mkdir()
    async with KubeApi(pki, directory).serving() as serving:
        yield serving


@pytest.fixture
async def told(api):
    async with Told(ApiServer(api.url, api.directory, timeout=0.3)).running() as running:
        yield running


async def test_what_changes_becomes_events(api, told):
    told.make_ready()
    await told.done(2)
    assert sorted((e["type"], e["reason"]) for e in api.events.values()) == [("Normal", "Ok")] * 2
    told.saw((A, "not_ready"))
    await told.done(4)
    endpoint, check = list(api.events.values())[2:]
    assert (endpoint["type"], endpoint["reason"]) == ("Warning", "NotReady")
    assert endpoint["note"].startswith("/readyz fails since ")
    assert endpoint["note"].endswith(": model:a not_ready (the server answered false)")
    assert check["note"].startswith("model:a fails since ")
    told.saw((A, "ok"))
    await told.done(6)
    assert api.refused == []
    assert all(e["regarding"]["uid"] == POD.uid for e in api.events.values())


async def test_the_end_of_liveness_is_told(api, told):
    told.make_ready()
    await told.done(2)
    told.saw(*[(SERVER_LIVE, "unreachable")] * 3)
    await told.done(5)
    healthz, readyz, checks = sorted(api.notes[2:])
    assert "/healthz fails since" in healthz
    assert "server-live unreachable" in healthz
    assert "; 2 more checks fail" in readyz
    assert "server-live" in checks
    assert {e["reason"] for e in list(api.events.values())[2:]} == {"Unreachable"}


async def test_a_server_that_loads_is_no_warning(api, told):
    told.saw((SERVER_LIVE, "unreachable"))
    await told.done(1)
    (event,) = api.events.values()
    assert (event["type"], event["reason"]) == ("Normal", "Unreachable")


async def test_what_gates_nothing_is_not_told(api):
    optional = Told(ApiServer(api.url, api.directory), optional=frozenset({A}))
    async with optional.running() as told:
        told.make_ready()
        await told.done(2)
        told.saw((A, "not_ready"), (B, "not_ready"))
        await told.done(4)
        assert not any("model:a" in note for note in api.notes)


async def test_a_result_that_grows_stale_is_told(api, told):
    told.make_ready()
    await told.done(2)
    told.now = 2000
    await told.done(3)
    assert api.reasons[2] == "Stale"


async def test_the_drain_is_told_and_is_no_warning(api, told):
    told.make_ready()
    await told.done(2)
    told.store.drain()
    await told.done(3)
    event = list(api.events.values())[2]
    assert (event["type"], event["reason"]) == ("Normal", "ShuttingDown")


async def test_the_same_is_counted_up(api, told):
    told.make_ready()
    await told.done(2)
    for times in range(1, 4):
        told.saw((A, "not_ready"))
        await told.done(2 + 4 * times - 2)
        told.saw((A, "ok"))
        await told.done(2 + 4 * times)
    failing = [e for e in api.events.values() if e["reason"] == "NotReady"]
    assert [e["series"]["count"] for e in failing] == [3, 3]
    assert len(api.events) <= 6
    assert api.refused == []


async def test_an_event_that_is_gone_is_created_anew(api, told):
    told.make_ready()
    await told.done(2)
    api.events.clear()
    told.saw((A, "not_ready"), (A, "ok"))
    await eventually(lambda: "Ok" in api.reasons and "NotReady" in api.reasons)


async def test_what_flaps_is_written_six_times_a_minute_at_most_and_nothing_is_lost(api, told):
    told.make_ready()
    await told.done(2)
    for _ in range(100):
        told.saw((A, "not_ready"))
        told.saw((A, "ok"))
        await asyncio.sleep(0.005)
    counted = "model:a fails"

    def times() -> int:
        found = [e for e in api.events.values() if e["note"].startswith(counted)]
        return sum(e.get("series", {"count": 1})["count"] for e in found)

    await eventually(lambda: times() == 100)
    at = [when for when, _, _ in api.requests]
    assert all(later - first >= QUICK.window for first, later in zip(at, at[6:], strict=False))
    assert told.result("dropped") == 0


async def test_a_write_that_arrives_late_does_not_let_a_seventh_into_its_window(api):
    class LateOnce(ApiServer):
        late = 0.3

        async def create(self, *args) -> None:
            delay, self.late = self.late, 0
            await asyncio.sleep(delay)
            await super().create(*args)

    many = [model_ready(f"m{n}") for n in range(20)]
    crowd = Told(LateOnce(api.url, api.directory), QUICK._replace(settle=0))
    crowd.store = HealthStore(initial(SERVER_LIVE, *many), [crowd.events])
    async with crowd.running() as told:
        for written, each in enumerate(many[:8], 1):
            told.saw((each, "ok"))
            await told.done(written)
    at = [when for when, _, _ in api.requests]
    assert len(at) == 8
    assert all(later - first >= QUICK.window for first, later in zip(at, at[6:], strict=False))


async def test_a_thousand_models_that_fail_together_are_one_event(api):
    many = [model_ready(f"m{n:04}") for n in range(1000)]
    crowd = Told(ApiServer(api.url, api.directory))
    crowd.store = HealthStore(all_ok(initial(SERVER_LIVE, *many)), [crowd.events])
    async with crowd.running() as told:
        await told.done(1)
        told.saw(*((each, "not_ready") for each in many))
        await told.done(3)
        (note,) = [note for note in api.notes if note.startswith("1000 checks fail since ")]
        assert len(note.encode()) <= 1024


async def test_more_changes_than_wait_are_counted_as_dropped(api):
    many = [model_ready(f"m{n}") for n in range(MAX_PENDING_CHECKS + 500)]
    crowd = Told(ApiServer(api.url, api.directory))
    crowd.store = HealthStore(initial(SERVER_LIVE, *many), [crowd.events])
    crowd.saw(*((each, "ok") for each in many))
    assert crowd.result("dropped") == 500


async def test_a_token_that_rotates_is_read_anew(api, told):
    told.make_ready()
    await told.done(2)
    api.token = "second"
    told.saw((A, "not_ready"))
    await eventually(lambda: told.result("failed") > 0)
    api.write(token="second")
    await told.done(4)


async def test_an_authority_that_changes_is_read_anew(api, other_pki):
    (api.directory / "ca.crt").write_bytes(other_pki.ca.read_bytes())
    async with Told(ApiServer(api.url, api.directory)).running() as told:
        told.make_ready()
        await eventually(lambda: told.result("failed") > 0)
        assert api.requests == []  # no token was sent to a server that is not trusted
        (api.directory / "ca.crt").write_bytes(api.pki.ca.read_bytes())
        await told.done(2)


async def test_only_so_many_series_are_remembered(api):
    never = Pace(settle=0, soon=0.01, tick=0.02, window=0, backoff=0.02)
    many = [model_ready(f"m{n}") for n in range(MAX_SERIES + 20)]
    crowd = Told(ApiServer(api.url, api.directory), never)
    crowd.store = HealthStore(initial(SERVER_LIVE, *many), [crowd.events])
    async with crowd.running() as told:
        for written, each in enumerate(many, 1):
            told.saw((each, "ok"))
            await told.done(written)
    assert len(crowd.events._written) == MAX_SERIES


# How an API server misbehaves. Each is over after a while, and what was told meanwhile comes then.


def refuses(code: int, message: str, **headers: str):
    async def answer(_: web.Request) -> web.StreamResponse:
        return status(code, message, **headers)

    return answer


def sends(code: int, body: bytes, **headers: str):
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=code, body=body, headers=headers)

    return answer


def writes(raw: bytes, then: Callable[[web.Request], Awaitable[None]] | None = None):
    """Sends bytes that may be no HTTP, and closes."""

    async def answer(request: web.Request) -> web.StreamResponse:
        transport(request).write(raw)
        if then:
            await then(request)
        transport(request).close()
        return web.Response()

    return answer


def transport(request: web.Request) -> asyncio.Transport:
    assert isinstance(request.transport, asyncio.Transport)
    return request.transport


async def is_silent(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(3600)
    return web.Response()


async def drips(request: web.Request) -> None:
    for _ in itertools.count():
        transport(request).write(b"X-A: 1\r\n")
        await asyncio.sleep(0.01)


async def resets(request: web.Request) -> web.StreamResponse:
    transport(request).abort()
    return web.Response()


DEEP = b"[" * 100_000
MISBEHAVIOURS = {
    "unauthorized": refuses(401, "Unauthorized"),
    "forbidden": refuses(403, "events is forbidden: User cannot create resource"),
    "namespace gone": refuses(404, 'namespaces "models" not found'),
    "too many requests": refuses(429, "slow down", **{"Retry-After": "0"}),
    "retry after a word": refuses(429, "slow down", **{"Retry-After": "tomorrow"}),
    "retry after a negative number": refuses(429, "slow down", **{"Retry-After": "-5"}),
    "internal error": refuses(500, "etcdserver: request timed out"),
    "unavailable": refuses(503, "apiserver is shutting down", **{"Retry-After": "1"}),
    "gateway timeout": sends(504, b"<html>bad gateway</html>"),
    "redirect": sends(307, b"", Location="https://127.0.0.1:1/elsewhere"),
    "no content": sends(204, b""),
    "not json": sends(500, b"\xff\xfe{"),
    "json of another form": sends(500, b'["message"]'),
    "json that is deep": sends(500, DEEP),
    "control characters": refuses(500, "\x1b[31mred\n\x00"),
    "a long text": refuses(500, "x" * 1_000_000),
    "a bomb": sends(500, b"\x1f\x8b" + bytes(1000), **{"Content-Encoding": "gzip"}),
    "silence": is_silent,
    "headers without end": writes(b"HTTP/1.1 200 OK\r\n", drips),
    "a reset": resets,
    "no http": writes(b"220 smtp.example ESMTP\r\n"),
    "nothing": writes(b""),
    "a header that is too long": writes(b"HTTP/1.1 201 Created\r\nX: " + b"a" * 100_000),
    "half a header": writes(b"HTTP/1.1 2"),
}


@pytest.mark.parametrize("misbehaviour", MISBEHAVIOURS)
async def test_an_api_server_that_misbehaves_costs_one_warning(api, told, caplog, misbehaviour):
    caplog.set_level("INFO", module.logger.name)
    api.misbehave = MISBEHAVIOURS[misbehaviour]
    told.make_ready()
    await eventually(lambda: told.result("failed") >= 2)
    told.saw((A, "not_ready"))
    assert told.result("created") == 0
    api.misbehave = None
    await eventually(lambda: len(api.events) >= 3)
    warning, back = [r for r in caplog.records if r.name == module.logger.name]
    assert warning.levelname == "WARNING"
    assert warning.getMessage().startswith("writing Kubernetes Events failed")
    assert warning.getMessage().isprintable()
    assert len(warning.getMessage()) < 500
    assert "token" not in warning.getMessage()
    assert back.getMessage() == "writing Kubernetes Events succeeds again"


LYING = {
    "200 for a post": sends(200, b"{}"),
    "success that is no json": sends(201, b"\xff"),
    "success whose body never ends": writes(b"HTTP/1.1 201 Created\r\n\r\n", drips),
}


@pytest.mark.parametrize("lie", LYING)
async def test_a_success_is_taken_whatever_its_body(api, told, lie):
    api.misbehave = LYING[lie]
    told.make_ready()
    await told.done(2)
    assert told.result("failed") == 0


async def test_an_event_that_is_refused_is_dropped_and_the_next_one_is_written(api, told):
    api.misbehave = refuses(422, "Event is invalid: note: Too long")
    told.make_ready()
    await eventually(lambda: told.result("dropped") == 2)
    api.misbehave = None
    told.saw((A, "not_ready"))
    await told.done(2)


async def test_an_answer_that_is_lost_is_not_told_twice(api: KubeApi, told):
    lost = []

    async def loses(request: web.Request) -> web.StreamResponse:
        response = await api.create(request)
        lost.append(response)
        transport(request).abort()
        return response

    api.misbehave = loses
    told.make_ready()
    await eventually(lambda: lost)
    api.misbehave = None
    await told.done(2)
    assert len(api.events) == 2


async def test_a_role_without_patch_creates_instead(api: KubeApi, told):
    told.make_ready()
    await told.done(2)

    async def allows_to_create(request: web.Request) -> web.StreamResponse:
        if request.method == "PATCH":
            return status(403, "cannot patch")
        return await api.create(request)

    api.misbehave = allows_to_create
    told.saw((A, "not_ready"))
    await told.done(4)
    told.saw((A, "ok"))
    await told.done(6)
    assert told.result("counted") == 0


async def test_what_is_too_old_is_no_longer_told(api):
    api.misbehave = refuses(503, "down")
    pace = QUICK._replace(too_old=0.1)
    async with Told(ApiServer(api.url, api.directory), pace).running() as told:
        told.make_ready()
        await eventually(lambda: told.result("dropped") == 2)


@pytest.mark.parametrize("file", ["token", "ca.crt", "namespace"])
@pytest.mark.parametrize("content", [None, b"", b"\xff", b"a\nb"], ids=str)
async def test_files_that_are_bad_are_read_again(api, file, content):
    path = api.directory / file
    good = path.read_bytes()
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    async with Told(ApiServer(api.url, api.directory)).running() as told:
        told.make_ready()
        await eventually(lambda: told.result("failed") > 1)
        path.write_bytes(good)
        await told.done(2)


async def test_a_file_that_hangs_holds_nothing_up(api, monkeypatch):
    monkeypatch.setattr(module_of_api, "FILES_TIMEOUT", 0.1)
    token = api.directory / "token"
    token.unlink()
    os.mkfifo(token)
    async with Told(ApiServer(api.url, api.directory)).running() as told:
        told.make_ready()
        await eventually(lambda: told.result("failed") > 1)
        token.open("w").close()  # the thread that waits for a writer ends
        token.unlink()
        api.write(token=api.token)
        await told.done(2)


async def test_an_api_server_that_is_not_there_is_tried_again(pki, tmp_path):
    api = KubeApi(pki, tmp_path)
    api.port = free_port()
    async with Told(ApiServer(api.url, tmp_path)).running() as told:
        told.make_ready()
        await eventually(lambda: told.result("failed") > 1)
        async with api.serving():
            await told.done(2)


async def test_outside_of_kubernetes_nothing_is_written(tmp_path):
    async with Told(ApiServer(None, tmp_path)).running() as told:
        told.make_ready()
        await eventually(lambda: told.result("failed") > 1)


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, None),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "https://10.0.0.1:443"),
        (
            {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"},
            "https://10.0.0.1:6443",
        ),
        ({"KUBERNETES_SERVICE_HOST": "fd00::1"}, "https://[fd00::1]:443"),
    ],
)
def test_the_address_is_the_one_that_kubernetes_tells(environment, url):
    assert in_cluster_url(environment) == url


# The daemon as a process of its own, whose files are in this folder.
WITH_FILES_IN = """
import sys
from functools import partial
from pathlib import Path
from sidecar.cli import main
from sidecar.outputs import kubernetes
kubernetes.ApiServer = partial(kubernetes.ApiServer, directory=Path({!r}))
sys.exit(main())
"""
FLAGS = ("--kubernetes-events=true", f"--pod-name={POD.name}", f"--pod-uid={POD.uid}")


@contextlib.asynccontextmanager
async def daemon(api: KubeApi, log, *flags: str):
    async with ToyServer({"a": True}) as server:
        program = (sys.executable, "-c", WITH_FILES_IN.format(str(api.directory)))
        address = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(api.port)}
        flags = (f"--server-url=127.0.0.1:{server.port}", "--models=a", *FLAGS, *flags)
        with running_sidecar(log, *flags, program=program, **address) as sidecar:
            await asyncio.to_thread(sidecar.wait_for, "/readyz", 200)
            yield sidecar, server


async def test_the_daemon_tells_its_pod_what_happens(api, tmp_path):
    async with daemon(api, tmp_path / "log") as (sidecar, server):
        server.models["a"] = False
        await eventually(lambda: "NotReady" in api.reasons, within=20)
        created = 'inference_kubernetes_events_total{result="created"}'
        assert await asyncio.to_thread(sidecar.metric, created) >= 1
    assert api.refused == []
    assert all(e["regarding"]["namespace"] == NAMESPACE for e in api.events.values())


async def test_an_api_server_that_hangs_holds_up_no_endpoint_and_not_the_exit(pki, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        api = KubeApi(pki, tmp_path)
        api.port = hangs.getsockname()[1]
        async with daemon(api, tmp_path / "log") as (sidecar, server):
            connection, _ = await asyncio.to_thread(hangs.accept)  # waits for a TLS handshake now
            with connection:
                for path in ("/readyz", "/healthz", "/metrics"):
                    assert (await asyncio.to_thread(sidecar.get, path)).status == 200
                server.models["a"] = False
                await asyncio.to_thread(sidecar.wait_for, "/readyz", 503)
                began = time.monotonic()
                sidecar.signal()
                assert await asyncio.to_thread(sidecar.wait) == 0
                assert time.monotonic() - began < 3


def test_it_is_not_imported_while_it_is_off():
    code = "import sys, sidecar.runtime; print('sidecar.outputs.kubernetes' in sys.modules)"
    assert python("-c", code).stdout == "False\n"
