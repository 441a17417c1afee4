"""Settings that take the place of others, in this process."""

import asyncio

import grpc
import grpc.aio
import pytest

from sidecar.config import BadSettings, Settings, load
from sidecar.config.files import Loaded, read, with_files
from sidecar.core.checks import SERVER_LIVE
from sidecar.core.reasons import Reason
from sidecar.core.rules import ENDPOINTS, readiness
from sidecar.core.target import Target
from sidecar.demo.server import Late, Refusal, Silence, ToyServer
from sidecar.probes.prober import Prober
from sidecar.runtime import Runtime
from tests.support import eventually


def settings_for(server: ToyServer, **settings: str) -> Settings:
    return load({"server_url": f"127.0.0.1:{server.port}", **settings})


def loaded(server: ToyServer, **settings: str) -> Loaded:
    given = settings_for(server, **settings)
    return read(lambda: given, None)


def running(server: ToyServer, **settings: str) -> Runtime:
    """These settings, in force."""
    first = loaded(server, **settings)
    return Runtime(first, lambda: first.settings)


def passing_endpoints(runtime: Runtime) -> dict[str, bool]:
    return {name: rule(runtime.snapshot()).passing for name, rule in ENDPOINTS.items()}


async def test_what_cannot_change_while_it_runs_is_named_and_the_rest_is_taken(capsys):
    async with ToyServer({"a": True, "b": True}) as server:
        runtime = running(server, models="a")
        await runtime.apply(loaded(server, models="b", http_port="1", drain_seconds="7"))
        assert [check.model for check in runtime.store.health.checks] == ["", "", "b"]
        assert (runtime.settings.http_port, runtime.settings.drain_seconds) == (9808, 7)
        assert "http_port cannot change at runtime; keeping 9808" in capsys.readouterr().err
        await runtime.prober.close()


async def test_without_an_answer_over_the_old_connection_any_new_one_will_do():
    async with ToyServer({"a": True}) as server:
        runtime = running(server, models="a", grpc_service="not.There")
        runtime.store.record(await runtime.prober.ask(SERVER_LIVE, 2))
        assert runtime.store.health.live.last_reason == "unimplemented"
        await runtime.apply(loaded(server, models="a", grpc_service="not.There.Either"))
        assert runtime.settings.grpc_service == "not.There.Either"
        await runtime.prober.close()


async def test_a_file_that_changes_while_it_is_read_gives_no_settings(pki, tmp_path):
    ca = tmp_path / "ca.pem"
    ca.write_bytes(pki.ca.read_bytes())
    async with ToyServer({"a": True}) as server:
        settings = settings_for(server, models="a", tls_ca_file=str(ca))
        ca.write_text("half of it")
        with pytest.raises(BadSettings, match="a file has changed meanwhile: holds no certificate"):
            read(lambda: settings, None)
        ca.unlink()
        with pytest.raises(BadSettings, match=r"meanwhile: .*cannot be read"):
            read(lambda: settings, None)


async def test_a_token_that_becomes_one_that_cannot_be_sent_changes_nothing(tmp_path):
    token = tmp_path / "token"
    token.write_text("good")
    async with ToyServer({"a": True}) as server:
        runtime = running(server, models="a")
        settings = settings_for(server, models="a", bearer_token_file=str(token))
        token.write_text("b\x00d")
        with pytest.raises(BadSettings, match="a file has changed meanwhile: "):
            await runtime.apply(read(lambda: settings, None))
        assert runtime.settings.bearer_token_file is None
        await runtime.prober.close()


@pytest.mark.parametrize("live", [Silence(), Refusal(grpc.StatusCode.UNIMPLEMENTED)])
async def test_a_connection_that_is_not_taken_is_closed(live, monkeypatch):
    async with ToyServer({"a": True}) as server:
        runtime = running(server, models="a")
        runtime.store.record(await runtime.prober.ask(SERVER_LIVE, 2))
        server.live = live
        candidates: list[Prober] = []

        class Candidate(Prober):
            def __init__(self, *args) -> None:
                super().__init__(*args)
                candidates.append(self)

        monkeypatch.setattr("sidecar.runtime.Prober", Candidate)
        settings = loaded(server, models="a", timeout_seconds="4")
        reloading = asyncio.create_task(runtime.apply(settings))
        await eventually(lambda: server.asked["ServerLive"] == 2)
        if live == Silence():
            reloading.cancel()
        with pytest.raises((BadSettings, asyncio.CancelledError)):
            await reloading
        with pytest.raises(grpc.aio.UsageError, match="the client is closed"):
            await candidates[0].ask(SERVER_LIVE, 2)
        server.live = True
        assert (await runtime.prober.ask(SERVER_LIVE, 2)).reason is Reason.OK
        await runtime.prober.close()


async def test_what_is_refused_is_told_without_what_would_have_stayed(capsys):
    async with ToyServer({"a": True}) as server:
        runtime = running(server, models="a")
        runtime.store.record(await runtime.prober.ask(SERVER_LIVE, 2))
        settings = loaded(server, models="a", http_port="1", grpc_service="not.There")
        with pytest.raises(BadSettings, match="answered with unimplemented"):
            await runtime.apply(settings)
        assert "keeping" not in capsys.readouterr().err
        await runtime.prober.close()


async def test_another_server_starts_unknown_whatever_the_one_before_was():
    async with ToyServer({"a": True}) as old, ToyServer({"a": True}) as new:
        runtime = running(old, models="a")
        for check in runtime.store.health.checks:
            runtime.store.record(await runtime.prober.ask(check, 2))
        passing = passing_endpoints(runtime)
        assert passing == dict.fromkeys(ENDPOINTS, True)
        await runtime.apply(loaded(new, models="a"))
        passing = passing_endpoints(runtime)
        assert passing == {"healthz": True, "readyz": False, "startupz": False, "livez": True}
        assert {past.results for past in runtime.history.pasts().values()} == {""}
        for check in runtime.store.health.checks:
            runtime.store.record(await runtime.prober.ask(check, 2))
        assert readiness(runtime.snapshot()).passing
        await runtime.prober.close()


@pytest.mark.parametrize("setting", ["authority", "tls_server_name", "grpc_service"])
def test_what_leads_elsewhere_at_one_address_is_another_server(setting):
    one, other = (target({setting: name}) for name in ("one.example", "other.example"))
    assert not one.is_same_server(other)
    assert one.is_same_server(target({setting: "one.example", "drain_seconds": "9"}))


def target(flags: dict[str, str]) -> Target:
    return with_files(load(flags)).target


async def test_the_same_server_keeps_what_is_known_of_it():
    async with ToyServer({"a": True}) as server:
        runtime = running(server, models="a")
        for check in runtime.store.health.checks:
            runtime.store.record(await runtime.prober.ask(check, 2))
        await runtime.apply(loaded(server, models="a", drain_seconds="7"))
        assert readiness(runtime.snapshot()).passing
        await runtime.prober.close()


async def test_a_question_that_the_old_server_answers_too_late_is_asked_of_the_new_one():
    async with ToyServer({"a": Late(0.3, False)}) as old, ToyServer({"a": True}) as new:
        runtime = running(old, models="a")
        model = list(runtime.store.health.checks)[-1]
        asking = asyncio.create_task(runtime.prober.ask(model, 2))
        await eventually(lambda: old.asked["ModelReady"])
        await runtime.apply(loaded(new, models="a"))
        assert (await asking).reason == "ok"
        await runtime.prober.close()
