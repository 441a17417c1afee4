"""New settings and replaced files under a running sidecar, over real gRPC and HTTP."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from sidecar.blocking import BlockingCalls
from sidecar.config import load
from sidecar.config.files import Loaded, read
from sidecar.config.watch import Reloader
from tests.support import Sidecar, eventually, running_sidecar, wait_until
from tests.toy import ToyProcess
from tests.volume import Volume, pair

BOTH = {"a": True, "b": True}
SUCCESSFUL = "inference_sidecar_config_last_reload_successful"


@pytest.fixture
def toy() -> Iterator[ToyProcess]:
    with ToyProcess(models=BOTH) as toy:
        yield toy


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    return Volume(tmp_path / "volume")


def names(sidecar: Sidecar) -> list[str]:
    """The models that readiness rests on."""
    lines = sidecar.get("/readyz?verbose").text.splitlines()
    return [line.split("model:")[1].split()[0] for line in lines if "model:" in line]


def wait_for_rounds(sidecar: Sidecar, rounds: int) -> None:
    """Until ServerLive has been answered so many times more."""
    polls = 'inference_polls_total{rpc="ServerLive"}'
    before = sidecar.metric(polls)
    wait_until(lambda: sidecar.metric(polls) >= before + rounds)


def configured(toy: ToyProcess, volume: Volume, log: Path, *flags: str):
    """A sidecar that reads its settings from the volume."""
    config = f"--config={volume.folder / 'sidecar.yaml'}"
    return running_sidecar(log, f"--server-url={toy.url}", config, *flags)


def test_models_come_and_go_and_who_stays_keeps_its_history(toy, volume, tmp_path):
    volume.put(**{"sidecar.yaml": "models: [a, b]"})
    with configured(toy, volume, tmp_path / "log") as sidecar:
        sidecar.wait_for("/readyz", 200)
        toy.tell(models={"a": False, "b": True, "c": True})
        sidecar.wait_for_line("[-]model:a failed: not_ready")
        moved = 'inference_status_transitions_total{model="a",rpc="ModelReady",version=""}'
        assert sidecar.metric(moved) == 2

        volume.put(**{"sidecar.yaml": "models: [a, {name: c, required: false}]"})
        sidecar.wait_for_line("[+]model:c ok")
        assert names(sidecar) == ["a", "c"]
        assert sidecar.metric(moved) == 2
        assert 'model="b"' not in sidecar.get("/metrics").text
        assert sidecar.metric('inference_model_ready{model="c",version=""}') == 1
        assert sidecar.get("/readyz/model:b").status == 404
        # That the new model has never been ready takes nothing back.
        assert sidecar.get("/startupz").status == 200
        assert sidecar.metric(SUCCESSFUL) == 1

        toy.tell(ready=True, models={"a": True, "c": False})
        sidecar.wait_for_line("[-]model:c failed: not_ready")
        sidecar.wait_for("/readyz", 200)


def test_a_bad_file_changes_nothing_and_says_all_that_is_wrong_once(toy, volume, tmp_path):
    volume.put(**{"sidecar.yaml": "models: [a]"})
    with configured(toy, volume, tmp_path / "log") as sidecar:
        sidecar.wait_for("/readyz", 200)
        volume.put(**{"sidecar.yaml": "models: [a, b]\njitter: 7\nperoid_seconds: 3\n"})
        wait_until(lambda: sidecar.metric(SUCCESSFUL) == 0)
        wait_for_rounds(sidecar, 4)
        told = [record["msg"] for record in sidecar.logged("reload rejected", 2)]
        assert len(told) == 2
        assert "jitter: given 7" in told[0]
        assert "peroid_seconds: there is no such setting; did you mean period_seconds?" in told[1]
        assert names(sidecar) == ["a"]

        volume.put(**{"sidecar.yaml": "models: [b]"})
        sidecar.wait_for_line("[+]model:b ok")
        assert sidecar.metric(SUCCESSFUL) == 1
        assert names(sidecar) == ["b"]


def test_a_file_that_is_gone_is_waited_for(toy, tmp_path):
    token = tmp_path / "token"
    token.write_text("first")
    flags = (f"--bearer-token-file={token}", "--models=a")
    with running_sidecar(tmp_path / "log", f"--server-url={toy.url}", *flags) as sidecar:
        sidecar.wait_for("/readyz", 200)
        token.unlink()
        wait_until(lambda: sidecar.metric(SUCCESSFUL) == 0)
        (record,) = sidecar.logged("reload rejected")
        assert str(token) in record["msg"]
        token.write_text("second")
        wait_until(lambda: sidecar.metric(SUCCESSFUL) == 1)
        assert sidecar.failed_polls() == 0


@pytest.mark.parametrize("name", ["sidecar.yaml", "token"])
def test_a_fifo_in_the_place_of_a_file_is_refused_and_a_file_taken_again(toy, tmp_path, name):
    config, token = tmp_path / "sidecar.yaml", tmp_path / "token"
    config.write_text("models: [a]")
    token.write_text("secret")
    flags = (f"--config={config}", f"--bearer-token-file={token}")
    with running_sidecar(tmp_path / "log", f"--server-url={toy.url}", *flags) as sidecar:
        sidecar.wait_for("/readyz", 200)
        before, fifo = (tmp_path / name).read_text(), tmp_path / "fifo"
        os.mkfifo(fifo)
        fifo.replace(tmp_path / name)
        wait_until(lambda: sidecar.metric(SUCCESSFUL) == 0)
        wait_for_rounds(sidecar, 3)
        assert [record["msg"] for record in sidecar.logged("reload rejected")] == [
            f"reload rejected: {tmp_path / name} is a FIFO, not a file"
        ]
        fifo.write_text(before)
        fifo.replace(tmp_path / name)
        wait_until(lambda: sidecar.metric(SUCCESSFUL) == 1)
        assert sidecar.get("/readyz").status == 200
        assert sidecar.failed_polls() == 0
        sidecar.signal()
        assert sidecar.wait(within=2) == 0


def test_files_are_looked_at_at_an_interval_of_its_own(toy, volume, tmp_path):
    volume.put(**{"sidecar.yaml": "models: [a]"})
    with configured(toy, volume, tmp_path / "log", "--period-seconds=3600") as sidecar:
        sidecar.wait_for("/readyz", 200)
        volume.put(**{"sidecar.yaml": "models: [b]"})
        wait_until(lambda: sidecar.records("configuration reloaded"))


def test_sighup_loads_at_once(toy, volume, tmp_path):
    volume.put(**{"sidecar.yaml": "models: [a]"})
    flags = ("--reload-interval-seconds=3600",)
    with configured(toy, volume, tmp_path / "log", *flags) as sidecar:
        sidecar.wait_for("/readyz", 200)
        volume.put(**{"sidecar.yaml": "models: [a, b]"})
        sidecar.signal(signal.SIGHUP)
        sidecar.wait_for_line("[+]model:b ok")
        assert sidecar.logged("configuration reloaded")[0]["models"] == 2


def test_another_server_gets_nothing_of_what_the_one_before_has_proven(toy, volume, tmp_path):
    first = f"server_url: {toy.url}\nmodels: [a]"
    volume.put(**{"sidecar.yaml": first})
    config = f"--config={volume.folder / 'sidecar.yaml'}"
    with (
        ToyProcess(ready=True, models={"a": False}) as other,
        running_sidecar(tmp_path / "log", config) as sidecar,
    ):
        sidecar.wait_for("/readyz", 200)
        assert sidecar.get("/startupz").status == 200
        volume.put(**{"sidecar.yaml": first.replace(str(toy.port), str(other.port))})
        sidecar.wait_for_line("[-]model:a failed: not_ready")
        assert [sidecar.get(path).status for path in ("/startupz", "/healthz")] == [503, 200]
        other.tell(models={"a": True})
        sidecar.wait_for("/startupz", 200)
        sidecar.wait_for("/readyz", 200)


def test_a_connection_that_is_worse_than_the_old_one_is_not_taken(toy, volume, tmp_path):
    volume.put(**{"sidecar.yaml": "models: [a]\ntimeout_seconds: 0.4"})
    with configured(toy, volume, tmp_path / "log") as sidecar:
        sidecar.wait_for("/readyz", 200)
        volume.put(**{"sidecar.yaml": "models: [a, b]\ngrpc_service: no.such.Service"})
        wait_until(lambda: sidecar.metric(SUCCESSFUL) == 0)
        (record,) = sidecar.logged("reload rejected")
        assert "ServerLive is answered with unimplemented over a new connection" in record["msg"]
        assert sidecar.get("/readyz").status == 200
        assert names(sidecar) == ["a"]
        assert sidecar.failed_polls() == 0


def test_a_token_that_is_replaced_is_sent_without_one_poll_that_fails(toy, volume, tmp_path):
    volume.put(token="old")
    toy.tell(models=BOTH, tokens=["old", "new"])
    flags = (f"--bearer-token-file={volume.folder / 'token'}", "--models=a")
    with running_sidecar(tmp_path / "log", f"--server-url={toy.url}", *flags) as sidecar:
        sidecar.wait_for("/readyz", 200)
        volume.put(token="new")
        sidecar.wait_for("/readyz", 200)
        wait_until(lambda: sidecar.records("configuration reloaded"))
        # What is under way with the old token has its answer two rounds later.
        wait_for_rounds(sidecar, 2)
        toy.tell(models=BOTH, tokens=["new"])
        wait_for_rounds(sidecar, 4)
        assert sidecar.get("/readyz").status == 200
        assert sidecar.failed_polls() == 0
        assert "old" not in sidecar.log
        assert "Bearer" not in sidecar.log


def test_certificates_are_replaced_while_the_server_lives_and_half_of_a_pair_is_not_taken(
    volume, tmp_path
):
    authority = trustme.CA()
    ca = authority.cert_pem.bytes()
    first, second = (authority.issue_cert("127.0.0.1") for _ in range(2))
    for name, data in pair(first).items():
        (tmp_path / name).write_bytes(data)
    volume.put(ca=ca, **pair(first))
    made = {name: str(tmp_path / name) for name in ("cert", "key")}
    expiry = 'inference_tls_certificate_expiry_timestamp_seconds{file="cert"}'
    files = [f"--tls-{name}-file={volume.folder / name}" for name in ("ca", "cert", "key")]
    with (
        ToyProcess(made, models=BOTH) as toy,
        running_sidecar(tmp_path / "log", f"--server-url={toy.url}", "--models=a", *files) as w,
    ):
        w.wait_for("/readyz", 200)
        before = w.metric(expiry)
        volume.put(ca=ca, cert=pair(second)["cert"], key=pair(first)["key"])
        wait_until(lambda: w.metric(SUCCESSFUL) == 0)
        (record,) = w.logged("reload rejected")
        assert "is not the key of tls_cert_file" in record["msg"]

        other = trustme.CA()
        volume.put(ca=other.cert_pem.bytes(), **pair(other.issue_cert("127.0.0.1")))
        wait_until(lambda: w.records("ServerLive is answered with tls over a new connection"))

        volume.put(ca=ca, **pair(authority.issue_cert("127.0.0.1")))
        wait_until(lambda: w.metric(SUCCESSFUL) == 1)
        assert w.metric(expiry) == before
        assert w.get("/readyz").status == 200
        assert w.failed_polls() == 0


def test_a_key_that_everybody_may_read_is_warned_of(toy, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o644)
    flags = (f"--bearer-token-file={token}", "--models=a")
    with running_sidecar(tmp_path / "log", f"--server-url={toy.url}", *flags) as sidecar:
        wait_until(lambda: sidecar.records("is world-readable"))
    token.chmod(0o600)
    with running_sidecar(tmp_path / "log", f"--server-url={toy.url}", *flags) as sidecar:
        sidecar.wait_for("/readyz", 200)
        assert not sidecar.records("is world-readable")


def files() -> BlockingCalls:
    return BlockingCalls("reading", 10)


QUICK = {"reload_interval_seconds": "0.05"}


async def test_what_was_replaced_while_it_was_read_is_taken_over_at_the_first_look(tmp_path):
    config, applied = tmp_path / "sidecar.yaml", asyncio.Event()
    config.write_text("models: [a]")

    def load_slowly():
        settings = load(QUICK, str(config))
        config.write_text("models: [b]")
        return settings

    before = read(load_slowly, config)
    after = read(lambda: load(QUICK, str(config)), config)

    async def apply(loaded: Loaded) -> None:
        assert loaded is after
        applied.set()

    reloader = Reloader(
        before,
        config,
        files(),
        asyncio.Event(),
        load=lambda: after,
        apply=apply,
        refused=pytest.fail,
    )
    running = asyncio.create_task(reloader.run())
    await asyncio.wait_for(applied.wait(), 10)
    running.cancel()


async def test_new_settings_that_name_another_file_are_loaded_once(tmp_path):
    config, token = tmp_path / "sidecar.yaml", tmp_path / "token"
    config.write_text("models: [a]")
    token.write_text("secret")
    looks, loads = [], []

    class Files(BlockingCalls):
        async def run(self, call):
            looks.append(call)
            return await super().run(call)

    def load_now() -> Loaded:
        loads.append(1)
        return read(lambda: load(QUICK, str(config)), config)

    async def apply(loaded: Loaded) -> None:
        assert loaded.settings.bearer_token_file == token

    before = load_now()
    config.write_text(f"models: [a]\nbearer_token_file: {token}")
    reloader = Reloader(
        before,
        config,
        Files("reading", 10),
        asyncio.Event(),
        load=load_now,
        apply=apply,
        refused=pytest.fail,
    )
    running = asyncio.create_task(reloader.run())
    await eventually(lambda: len(loads) == 2)
    seen = len(looks)
    await eventually(lambda: len(looks) >= seen + 3)
    assert len(loads) == 2
    running.cancel()
