"""What a server behind a real proxy comes to: a dead one is dead, a busy proxy is not."""

import signal

import pytest

from tests.interop.proxies import envoy, nginx
from tests.support import Sidecar, free_port, running_sidecar, wait_until
from tests.toy import ToyProcess

# The first run installs Envoy.
pytestmark = pytest.mark.timeout(600)

QUICK = ("--period-seconds=1", "--timeout-seconds=0.9", "--recovery-period-seconds=0.2")


def failures(sidecar: Sidecar, reason: str) -> float:
    return sidecar.metric(f'inference_poll_failures_total{{reason="{reason}",rpc="ServerLive"}}')


@pytest.mark.parametrize("proxy", [envoy, nginx])
def test_a_dead_server_is_dead_behind_a_proxy_too(proxy, tmp_path):
    with ToyProcess(models={"a": True}) as toy, proxy(tmp_path, toy.port) as port:
        url = f"--server-url=127.0.0.1:{port}"
        with running_sidecar(tmp_path / "log", url, "--models=a", *QUICK) as sidecar:
            sidecar.wait_for("/readyz", 200)
            toy.kill()
            sidecar.wait_for("/healthz", 503)
            sidecar.wait_for_line("[-]server-live failed: unreachable")
            toy.start()
            sidecar.wait_for("/readyz", 200)
            assert sidecar.get("/healthz").status == 200


@pytest.mark.parametrize("proxy", [envoy, nginx])
def test_a_frozen_server_is_a_timeout_behind_a_proxy_too(proxy, tmp_path):
    with ToyProcess(models={"a": True}) as toy, proxy(tmp_path, toy.port) as port:
        url = f"--server-url=127.0.0.1:{port}"
        with running_sidecar(tmp_path / "log", url, "--models=a", *QUICK) as sidecar:
            sidecar.wait_for("/readyz", 200)
            toy.signal(signal.SIGSTOP)
            sidecar.wait_for("/readyz", 503)
            assert failures(sidecar, "unreachable") == 0
            toy.signal(signal.SIGCONT)
            sidecar.wait_for("/readyz", 200)


def test_what_envoy_itself_says_of_a_silent_server_is_a_timeout(tmp_path):
    with ToyProcess(models={"a": True}) as toy, envoy(tmp_path, toy.port, timeout="0.3s") as port:
        url = f"--server-url=127.0.0.1:{port}"
        with running_sidecar(tmp_path / "log", url, "--models=a", *QUICK) as sidecar:
            sidecar.wait_for("/readyz", 200)
            toy.signal(signal.SIGSTOP)
            sidecar.wait_for("/readyz", 503)
            assert failures(sidecar, "timeout") >= 3
            toy.signal(signal.SIGCONT)
            sidecar.wait_for("/readyz", 200)


def test_a_proxy_without_a_server_has_nobody_behind_it(tmp_path):
    with envoy(tmp_path, None) as port:
        flags = (f"--server-url=127.0.0.1:{port}", "--models=a", *QUICK)
        with running_sidecar(tmp_path / "log", *flags) as sidecar:
            sidecar.wait_for_line("[-]server-live failed: unreachable")


def test_an_envoy_that_lets_no_request_through_is_busy_and_nobody_is_restarted(tmp_path):
    with ToyProcess(models={"a": True}) as toy:
        with envoy(tmp_path, toy.port, most_requests=0) as port:
            flags = (f"--server-url=127.0.0.1:{port}", "--models=a", *QUICK)
            with running_sidecar(tmp_path / "log", *flags) as sidecar:
                sidecar.wait_for_line("[-]server-live failed: busy")
                assert sidecar.get("/healthz").status == 200


def test_an_nginx_that_ends_used_up_connections_makes_no_check_fail(tmp_path):
    models = {f"m{number}": True for number in range(30)}
    with ToyProcess(models=models) as toy, nginx(tmp_path, toy.port, requests=20) as port:
        flags = (f"--server-url=127.0.0.1:{port}", f"--models={','.join(models)}", *QUICK)
        with running_sidecar(tmp_path / "log", *flags) as sidecar:
            sidecar.wait_for("/readyz", 200)
            failed = sidecar.failed_polls()
            polls = 'inference_polls_total{rpc="ModelReady"}'
            wait_until(lambda: sidecar.metric(polls) > 400, within=40)
            assert sidecar.failed_polls() == failed


def test_a_port_that_nobody_has_behind_nginx_is_unreachable(tmp_path):
    with nginx(tmp_path, free_port()) as port:
        flags = (f"--server-url=127.0.0.1:{port}", "--models=a", *QUICK)
        with running_sidecar(tmp_path / "log", *flags) as sidecar:
            sidecar.wait_for_line("[-]server-live failed: unreachable")
