"""Settings that take the place of others, in this process."""

import asyncio

import pytest
from prometheus_client.registry import CollectorRegistry

from sidecar.demo import Late, ToyServer
from sidecar.force import Force
from sidecar.health.checks import SERVER_LIVE
from sidecar.health.verdict import ENDPOINTS
from sidecar.settings import BadSettings, load
from tests.support import eventually


def loaded(server: ToyServer, **settings: str):
    return load({"server_url": f"127.0.0.1:{server.port}", **settings})


async def test_what_cannot_change_while_it_runs_is_named_and_the_rest_is_taken(capsys):
    async with ToyServer({"a": True, "b": True}) as server:
        force = Force(loaded(server, models="a"), CollectorRegistry())
        await force.apply(loaded(server, models="b", http_port="1", drain_seconds="7"))
        assert [check.model for check in force.board.health.checks] == ["", "", "b"]
        assert (force.settings.http_port, force.settings.drain_seconds) == (9808, 7)
        assert "http_port stays 9808 until the next start" in capsys.readouterr().err
        await force.link.close()


async def test_without_an_answer_over_the_old_connection_any_new_one_will_do():
    async with ToyServer({"a": True}) as server:
        force = Force(loaded(server, models="a", grpc_service="not.There"), CollectorRegistry())
        force.board.record(await force.link.ask(SERVER_LIVE))
        assert force.board.health.live.answer == "unimplemented"
        await force.apply(loaded(server, models="a", grpc_service="not.There.Either"))
        assert force.settings.grpc_service == "not.There.Either"
        await force.link.close()


async def test_a_file_that_changes_while_settings_are_taken_over_changes_nothing(pki, tmp_path):
    ca = tmp_path / "ca.pem"
    ca.write_bytes(pki.ca.read_bytes())
    async with ToyServer({"a": True}) as server:
        force = Force(loaded(server, models="a"), CollectorRegistry())
        settings = loaded(server, models="a", tls_ca_file=str(ca))
        ca.write_text("half of it")
        with pytest.raises(BadSettings, match="a file has changed meanwhile: holds no certificate"):
            await force.apply(settings)
        assert force.settings.tls_ca_file is None
        ca.unlink()
        with pytest.raises(OSError, match="No such file"):
            await force.apply(settings)
        await force.link.close()


async def test_a_token_that_becomes_one_that_cannot_be_sent_changes_nothing(tmp_path):
    token = tmp_path / "token"
    token.write_text("good")
    async with ToyServer({"a": True}) as server:
        force = Force(loaded(server, models="a"), CollectorRegistry())
        settings = loaded(server, models="a", bearer_token_file=str(token))
        token.write_text("b\x00d")
        with pytest.raises(BadSettings, match="a file has changed meanwhile: "):
            await force.apply(settings)
        assert force.settings.bearer_token_file is None
        await force.link.close()


async def test_what_is_refused_is_told_without_what_would_have_stayed(capsys):
    async with ToyServer({"a": True}) as server:
        force = Force(loaded(server, models="a"), CollectorRegistry())
        force.board.record(await force.link.ask(SERVER_LIVE))
        settings = loaded(server, models="a", http_port="1", grpc_service="not.There")
        with pytest.raises(BadSettings, match="answered with unimplemented"):
            await force.apply(settings)
        assert "stays" not in capsys.readouterr().err
        await force.link.close()


async def test_another_server_starts_unknown_whatever_the_one_before_was():
    async with ToyServer({"a": True}) as old, ToyServer({"a": True}) as new:
        force = Force(loaded(old, models="a"), CollectorRegistry())
        for check in force.board.health.checks:
            force.board.record(await force.link.ask(check))
        passing = {e: judge(()).passing for e, judge in force.judges().items()}
        assert passing == dict.fromkeys(ENDPOINTS, True)
        await force.apply(loaded(new, models="a"))
        passing = {e: judge(()).passing for e, judge in force.judges().items()}
        assert passing == {"healthz": True, "readyz": False, "startupz": False, "livez": True}
        assert {past.answers for past in force.history.pasts().values()} == {""}
        for check in force.board.health.checks:
            force.board.record(await force.link.ask(check))
        assert force.judges()["readyz"](()).passing
        await force.link.close()


async def test_the_same_server_keeps_what_is_known_of_it():
    async with ToyServer({"a": True}) as server:
        force = Force(loaded(server, models="a"), CollectorRegistry())
        for check in force.board.health.checks:
            force.board.record(await force.link.ask(check))
        await force.apply(loaded(server, models="a", drain_seconds="7"))
        assert force.judges()["readyz"](()).passing
        await force.link.close()


async def test_a_question_that_the_old_server_answers_too_late_is_asked_of_the_new_one():
    async with ToyServer({"a": Late(0.3, False)}) as old, ToyServer({"a": True}) as new:
        force = Force(loaded(old, models="a"), CollectorRegistry())
        model = list(force.board.health.checks)[-1]
        asking = asyncio.create_task(force.link.ask(model))
        await eventually(lambda: old.asked["ModelReady"])
        await force.apply(loaded(new, models="a"))
        assert (await asking).answer == "ok"
        await force.link.close()
