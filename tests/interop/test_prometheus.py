"""A real Prometheus scrapes the sidecar as its own process; promtool reads its page."""

import gzip
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.proxy import Proxy
from tests.prometheus import prometheus
from tests.support import Sidecar, require_program, running_sidecar, wait_until
from tests.toy import ToyProcess

MODEL_READY = 'inference_model_ready{model="bert"}'


@pytest.fixture
def server() -> Iterator[ToyProcess]:
    """A toy server with one ready model."""
    with ToyProcess(models={"bert": True}) as server:
        yield server


@pytest.fixture
def sidecar(server: ToyProcess, tmp_path: Path) -> Iterator[Sidecar]:
    """A sidecar that polls the toy server and has found it ready."""
    flags = (f"--server-url={server.url}", "--models=bert,missing:2")
    with running_sidecar(tmp_path / "sidecar.log", *flags) as sidecar:
        sidecar.wait_for_line("[+]model:bert ok")
        yield sidecar


@pytest.fixture
def ask(sidecar: Sidecar, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Asks a Prometheus that scrapes the sidecar; gives the `data` of its API's answer."""
    target = {"targets": [f"127.0.0.1:{sidecar.port}"]}
    config = {
        "global": {"scrape_interval": "200ms"},
        "scrape_configs": [{"job_name": "sidecar", "static_configs": [target]}],
    }
    with prometheus(tmp_path, config) as running:
        yield running.get


def wait_for_value(ask: Callable[..., Any], query: str, value: str) -> None:
    """Until the query's only series has this value."""
    wait_until(lambda: [s["value"][1] for s in ask("query", query=query)["result"]] == [value])


def test_prometheus_sees_a_model_become_unready_and_ready_again(server, ask):
    wait_for_value(ask, MODEL_READY, "1")
    server.tell(models={"bert": False})
    wait_for_value(ask, MODEL_READY, "0")
    server.tell(models={"bert": True})
    wait_for_value(ask, MODEL_READY, "1")
    wait_for_value(ask, 'inference_model_ready{model="missing",version="2"}', "0")
    wait_for_value(ask, 'inference_health_passing{probe="healthz"}', "1")


def test_prometheus_finds_no_fault_with_the_page_and_reads_it_as_openmetrics(ask):
    wait_for_value(ask, "up", "1")
    (target,) = ask("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    # Only OpenMetrics has this type, and names a counter without its suffix.
    assert ask("metadata", metric="inference_sidecar_build")["inference_sidecar_build"] == [
        {"type": "info", "help": "Versions of the sidecar.", "unit": ""}
    ]
    wait_for_value(ask, "count(inference_polls_total)", "3")


def test_prometheus_reads_the_page_compressed(sidecar, tmp_path):
    came = bytearray()

    def record(chunk: bytes) -> bytes:
        came.extend(chunk)
        return chunk

    with Proxy(sidecar.port) as path:
        path.spoil = record
        config = {
            "global": {"scrape_interval": "200ms"},
            "scrape_configs": [
                {
                    "job_name": "sidecar",
                    "static_configs": [{"targets": [f"127.0.0.1:{path.port}"]}],
                }
            ],
        }
        with prometheus(tmp_path, config) as running:
            wait_for_value(running.get, MODEL_READY, "1")
    head, _, body = bytes(came).partition(b"\r\n\r\n")
    headers = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    assert headers[b"Content-Encoding"] == b"gzip"
    assert headers[b"Content-Type"].startswith(b"application/openmetrics-text")
    page = gzip.decompress(body[: int(headers[b"Content-Length"])])
    assert page.endswith(b"# EOF\n")
    assert len(page) > 3 * int(headers[b"Content-Length"])


def test_promtool_has_nothing_to_say_about_the_text_page(sidecar):
    promtool = require_program("promtool")
    page = sidecar.get("/metrics")
    assert page.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=page.text,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
