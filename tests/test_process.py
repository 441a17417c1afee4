"""The daemon as its own process, driven from outside: the whole pipe over real gRPC and HTTP."""

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from sidecar.demo.server import ToyServer
from tests.conftest import EXPIRES
from tests.support import clean_environment, free_port, python, running_sidecar, sidecar, wait_until
from tests.toy import ToyProcess

ALL_OK = (
    "[+]server-live ok\n[+]server-ready ok\n[+]model:a ok\n[+]model:b ok\nreadyz check passed\n"
)


@pytest.fixture
def toy() -> Iterator[ToyProcess]:
    with ToyProcess(models={"a": True, "b": True}) as toy:
        yield toy


@pytest.fixture
def log(tmp_path):
    return tmp_path / "sidecar.log"


def test_it_follows_a_server_through_its_life(toy, log):
    with running_sidecar(log, f"--server-url={toy.url}", "--models=a,b") as sidecar:
        assert sidecar.wait_for("/readyz?verbose", 200).text == ALL_OK
        assert sidecar.get("/healthz").text == sidecar.get("/startupz").text == "ok"

        toy.tell(models={"a": True, "b": False})
        sidecar.wait_for_line("[-]model:b failed: not_ready")
        assert sidecar.get("/healthz").status == 200
        assert sidecar.metric('inference_model_ready{model="b",version=""}') == 0

        toy.tell(models={"a": True, "b": True})
        sidecar.wait_for("/readyz", 200)
        assert sidecar.metric('inference_model_ready{model="b",version=""}') == 1

        toy.kill()
        sidecar.wait_for_line("[-]model:a failed: unreachable")
        assert sidecar.wait_for("/healthz", 503).text == (
            "[-]server-live failed: unreachable\nhealthz check failed\n"
        )
        assert (sidecar.get("/startupz").status, sidecar.get("/livez").status) == (503, 200)

        toy.start()
        sidecar.wait_for("/readyz", 200)
        assert (sidecar.get("/healthz").status, sidecar.get("/startupz").status) == (200, 200)
        sidecar.signal()
        assert sidecar.wait() == 0


def test_it_listens_before_there_is_a_server_and_outlives_its_absence(log):
    toy = ToyProcess(models={"a": True})
    with running_sidecar(log, f"--server-url={toy.url}", "--models=a") as sidecar:
        sidecar.wait_for_line("[-]server-live failed: unreachable", "/healthz")
        assert sidecar.get("/livez").status == 200
        with toy:
            sidecar.wait_for("/readyz", 200)


def test_a_lost_connection_is_noticed_long_before_the_next_round(toy, log):
    with running_sidecar(
        log, f"--server-url={toy.url}", "--models=a", "--period-seconds=60"
    ) as sidecar:
        sidecar.wait_for("/readyz", 200)
        toy.kill()
        sidecar.wait_for("/readyz", 503, within=5)


def test_requests_cost_the_server_nothing(toy, log):
    with running_sidecar(
        log, f"--server-url={toy.url}", "--models=a", "--period-seconds=60"
    ) as sidecar:
        sidecar.wait_for("/readyz", 200)
        before = sidecar.metric('inference_polls_total{rpc="ModelReady"}')
        for path in ("/readyz", "/healthz", "/metrics", "/status", "/startupz", "/livez") * 20:
            sidecar.get(path)
        assert sidecar.metric('inference_polls_total{rpc="ModelReady"}') == before


def test_a_hung_model_delays_neither_the_others_nor_liveness(toy, log):
    with running_sidecar(log, f"--server-url={toy.url}", "--models=a,b") as sidecar:
        sidecar.wait_for("/readyz", 200)
        toy.tell(models={"a": True, "b": "silence"}, ready=True)
        sidecar.wait_for_line("[-]model:b failed: timeout")
        assert sidecar.get("/readyz/model:a").status == 200
        assert sidecar.get("/healthz").status == 200


def test_sigterm_drains_and_then_ends_with_code_0(toy, log):
    with running_sidecar(
        log, f"--server-url={toy.url}", "--models=a", "--drain-seconds=60"
    ) as sidecar:
        sidecar.wait_for("/readyz", 200)
        sidecar.signal(signal.SIGTERM)
        body = sidecar.wait_for("/readyz", 503).text
        assert body.startswith("[-]drain failed: shutting_down\n")
        assert sidecar.get("/healthz").status == 200
        polls = sidecar.metric('inference_polls_total{rpc="ServerLive"}')
        wait_until(lambda: sidecar.metric('inference_polls_total{rpc="ServerLive"}') > polls)
        assert sidecar.get("/status").json()["draining"] is True
        sidecar.signal(signal.SIGTERM)
        assert sidecar.wait() == 0
        assert sidecar.records("stopped")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_without_a_drain_a_signal_ends_it_at_once(log, signum):
    with running_sidecar(log, f"--server-url=127.0.0.1:{free_port()}") as sidecar:
        sidecar.signal(signum)
        assert sidecar.wait(within=5) == 0
        assert "Traceback" not in sidecar.log


def test_each_transition_is_logged_once(toy, log):
    with running_sidecar(log, f"--server-url={toy.url}", "--models=a,b") as sidecar:
        sidecar.wait_for("/readyz", 200)
        toy.tell(models={"a": True, "b": "INTERNAL"}, ready=True)
        sidecar.wait_for_line("[-]model:b failed: error")
        toy.tell(models={"a": True, "b": True})
        sidecar.wait_for("/readyz", 200)
        records = [r for r in sidecar.logged("model:b is", 3) if r.get("check") == "model:b"]
        records = [r for r in records if r["from"] != r["to"]]
        moved = [(r["level"], r["from"], r["to"], r["reason"]) for r in records]
        details = [r["detail"] for r in records]
    assert moved == [
        ("info", "UNKNOWN", "SERVING", "ok"),
        ("warning", "SERVING", "NOT_SERVING", "error"),
        ("info", "NOT_SERVING", "SERVING", "ok"),
    ]
    assert details[1] == "INTERNAL: as told"


def test_settings_come_from_the_environment_and_a_file_too(toy, log, tmp_path):
    file = tmp_path / "sidecar.yaml"
    file.write_text("models: [a, {name: gone, required: false}]\n")
    variables = {"SIDECAR_SERVER_URL": toy.url, "SIDECAR_CONFIG": str(file)}
    with running_sidecar(log, SIDECAR_MISSPELT="1", **variables) as sidecar:
        sidecar.wait_for("/readyz", 200)
        sidecar.wait_for_line("[-]model:gone failed: model_not_found")
        assert sidecar.logged("SIDECAR_MISSPELT is set, but there is no such setting")


async def test_a_client_certificate_and_a_token_reach_the_server_and_no_log(pki, log, tmp_path):
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    server = ToyServer({"a": True})
    await server.start(creds=pki.server_credentials(mutual=True))

    def drive() -> None:
        with running_sidecar(
            log,
            f"--server-url=grpcs://127.0.0.1:{server.port}",
            "--models=a",
            f"--tls-ca-file={pki.ca}",
            f"--tls-cert-file={pki.cert}",
            f"--tls-key-file={pki.key}",
            "--tls-server-name=localhost",
            f"--bearer-token-file={token}",
            "--log-level=debug",
        ) as sidecar:
            sidecar.wait_for("/readyz", 200)
            expiry = 'inference_tls_certificate_expiry_timestamp_seconds{file="cert"}'
            assert sidecar.metric(expiry) == EXPIRES.timestamp()
            assert "s3cret" not in sidecar.log + sidecar.get("/status").text

    await asyncio.to_thread(drive)
    assert server.metadata["authorization"] == "Bearer s3cret"
    await server.stop()


def test_a_peer_that_speaks_something_else_ends_in_a_word_and_the_daemon_goes_on(log):
    with socket.create_server(("127.0.0.1", 0)) as peer:
        with running_sidecar(
            log, f"--server-url=127.0.0.1:{peer.getsockname()[1]}", "--models=a"
        ) as sidecar:
            connection, _ = peer.accept()
            connection.sendall(b"SSH-2.0-something\r\n")
            connection.close()
            pattern = re.compile(r"\[-\]server-live failed: (unreachable|timeout|error)")
            wait_until(lambda: pattern.search(sidecar.get("/healthz").text))
            polls = sidecar.metric('inference_polls_total{rpc="ServerLive"}')
            wait_until(lambda: sidecar.metric('inference_polls_total{rpc="ServerLive"}') > polls)


def test_a_taken_port_ends_it_with_code_1_and_one_line():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        result = sidecar("run", f"--http-port={port}")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"sidecar: cannot listen on all interfaces, port {port}: Address already in use\n"
    )


@pytest.mark.parametrize("command", ["run", "check", "config", "demo"])
def test_bad_settings_end_every_command_with_code_2_and_nothing_starts(command):
    result = sidecar(command, "--jitter=7", SIDECAR_HTTP_PORT="x")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "sidecar: jitter: given '7' by --jitter: input should be less than or equal to 1;"
        " allowed: a share from 0 to 1\n"
        "sidecar: http_port: given 'x' by SIDECAR_HTTP_PORT: not a whole number; allowed: a"
        " port from 1 to 65535, or 0 for any free one\n"
    )


@pytest.mark.parametrize("command", ["run", "check", "demo"])
def test_a_bug_in_the_loop_ends_it_with_a_traceback_and_a_code_of_its_own(command):
    code = (
        "import sys; from sidecar.probes import prober; from sidecar import cli;"
        "prober.Prober.ask = lambda *_: 1 / 0;"
        "sys.exit(cli.main([sys.argv[1], '--http-port=0']))"
    )
    result = python("-c", code, command)
    assert result.returncode == 70
    assert "Traceback (most recent call last):" in result.stderr
    assert result.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_a_taken_port_has_another_code_than_a_bug(log):
    with running_sidecar(log, f"--server-url=127.0.0.1:{free_port()}") as other:
        for command in ("run", "demo"):
            port = f"--http-port={other.port}"
            result = sidecar(command, port, "--http-host=127.0.0.1")
            assert (result.returncode, "Traceback" in result.stderr) == (1, False)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("*", ":: (IPv4 and IPv6)"),
        ("0.0.0.0", "0.0.0.0 (IPv4 only)"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_the_log_tells_which_families_it_listens_on(host, address, log):
    url = f"--server-url=127.0.0.1:{free_port()}"
    with running_sidecar(log, f"--http-host={host}", url) as started:
        assert started.records("is listening")[0]["address"] == address
        assert started.get("/livez").status == 200


def test_a_link_to_a_service_is_told_once_however_often_settings_are_loaded(log):
    url = f"--server-url=127.0.0.1:{free_port()}"
    link = {"SIDECAR_HTTP_PORT": "tcp://10.0.0.1:80", "SIDECAR_HTTP_SERVICE_HOST": "10.0.0.1"}
    with running_sidecar(log, url, **link) as started:
        started.signal(signal.SIGHUP)
        wait_until(lambda: started.records("configuration reloaded"))
        assert len(started.logged("SIDECAR_HTTP_PORT is ignored")) == 1
        assert not started.records("SIDECAR_HTTP_SERVICE_HOST")


def test_a_low_soft_limit_of_open_files_is_raised(log):
    program = ["/bin/sh", "-c", 'ulimit -Sn 64; exec "$@"', "sh", sys.executable, "-m", "sidecar"]
    with running_sidecar(log, f"--server-url=127.0.0.1:{free_port()}", program=program) as sidecar:
        idle = [socket.create_connection(("127.0.0.1", sidecar.port)) for _ in range(200)]
        assert sidecar.get("/livez").status == 200
        for connection in idle:
            connection.close()


@pytest.mark.parametrize(("command", "code"), [("run", 0), ("check", 143)])
def test_a_signal_during_the_start_is_heard(command, code):
    program = (
        "import os, signal, sys\n"
        "from sidecar import cli\n"
        "class Deliver:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'sidecar.config':\n"
        "            os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.meta_path.insert(0, Deliver())\n"
        "sys.exit(cli.main([sys.argv[1], '--http-port=0']) or 7)\n"
    )
    result = python("-c", program, command)
    assert (result.returncode, result.stdout, result.stderr) == (code, "", "")


def test_the_demo_tells_what_to_try_and_shows_each_transition(log):
    with running_sidecar(log, "--log-format=json", command="demo") as demo:
        text = demo.log
        for path in ("/readyz", "/readyz?verbose", "/healthz", "/metrics", "/status"):
            assert f"'localhost:{demo.port}{path}'" in text
        demo.wait_for_line("[+]model:steady ok")
        demo.wait_for_line("[-]model:slow-to-load failed: not_ready")
        demo.wait_for("/readyz", 200, within=20)
        wait_until(lambda: demo.records("model:slow-to-load is SERVING for readiness"))
        demo.signal(signal.SIGINT)
        assert demo.wait() == 0
        assert "Traceback" not in demo.log


def test_the_schema_is_printed():
    result = sidecar("config", "--schema")
    assert result.returncode == 0
    assert "period_seconds" in json.loads(result.stdout)["properties"]


def test_the_servers_next_container_has_its_own_start_up(toy, log):
    with running_sidecar(log, f"--server-url={toy.url}", "--models=a,b") as sidecar:
        sidecar.wait_for("/startupz", 200)
        toy.tell(models={"a": True, "b": False}, ready=True)
        sidecar.wait_for("/readyz", 503)
        assert sidecar.get("/startupz").status == 200
        # Long before the kubelet has another container, and asks its startupProbe.
        toy.kill()
        sidecar.wait_for("/startupz", 503, within=1)
        toy.start()
        sidecar.wait_for_line("[-]model:b failed: not_ready", "/startupz")
        assert sidecar.get("/startupz").text.splitlines() == [
            "[+]server-live ok",
            "[+]server-ready ok",
            "[+]model:a ok",
            "[-]model:b failed: not_ready",
            "startupz check failed",
        ]
        toy.tell(models={"a": True, "b": True})
        sidecar.wait_for("/startupz", 200)


def test_the_demos_server_alone_answers_until_it_is_told_to_stop():
    port = free_port()
    command = [sys.executable, "-m", "sidecar.demo", str(port)]
    with subprocess.Popen(command, env=clean_environment()) as server:
        url = f"--server-url=127.0.0.1:{port}"
        assert sidecar("check", url, "--models=steady", "--wait=20").returncode == 0
        server.terminate()
        assert server.wait(10) == 0


def test_the_demos_models_are_known_when_its_settings_are_judged(log):
    with running_sidecar(log, "--readiness-policy=2", command="demo") as demo:
        demo.wait_for("/readyz", 200)
