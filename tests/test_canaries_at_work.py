"""The daemon with canaries as a process of its own, over real gRPC and HTTP."""

import asyncio
import json
from contextlib import AbstractContextManager
from pathlib import Path

import grpc
import pytest

from sidecar.demo.server import Refusal, Silence, ToyServer
from tests.support import Sidecar, eventually, running_sidecar

TIMEOUT = 0.3
FAST = (
    "--canary-period-seconds=0.3",
    f"--canary-timeout-seconds={TIMEOUT}",
    "--canary-success-threshold=1",
)
DEAD = Refusal(grpc.StatusCode.INTERNAL, "Stub process 'm_0_0' is not healthy.")
REQUEST = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}


@pytest.fixture
async def server():
    async with ToyServer({"a": True, "b": True}) as started:
        yield started


def beside(server: ToyServer, log: Path, *flags: str) -> AbstractContextManager[Sidecar]:
    return running_sidecar(log, f"--server-url=127.0.0.1:{server.port}", "--models=a,b", *flags)


async def wait_for_line(sidecar: Sidecar, line: str, path: str = "/readyz?verbose") -> None:
    await asyncio.to_thread(sidecar.wait_for_line, line, path)


async def get(sidecar: Sidecar, path: str):
    return await asyncio.to_thread(sidecar.get, path)


async def metric(sidecar: Sidecar, name: str) -> float:
    return await asyncio.to_thread(sidecar.metric, name)


async def test_without_canaries_not_one_more_call_is_made(server, tmp_path):
    with beside(server, tmp_path / "log") as sidecar:
        await asyncio.to_thread(sidecar.wait_for, "/readyz", 200)
        await eventually(lambda: server.asked["ModelReady"] > 5)
        text = (await get(sidecar, "/metrics")).text
    assert set(server.asked) == {"ServerLive", "ServerReady", "ModelReady"}
    assert "inference_canary" not in text
    assert 'rpc="ModelInfer"' not in text


async def test_a_model_whose_inferences_fail_gets_no_traffic(server, tmp_path):
    with beside(server, tmp_path / "log", "--canary=auto", *FAST) as sidecar:
        await wait_for_line(sidecar, "[+]canary:a ok")
        await wait_for_line(sidecar, "[+]canary:b ok")
        assert await metric(sidecar, 'inference_canary_passing{model="a",version=""}') == 1
        server.inferences["a"] = DEAD
        await wait_for_line(sidecar, "[-]canary:a failed: error")
        assert (await get(sidecar, "/readyz")).status == 503
        assert (await get(sidecar, "/readyz/model:a")).status == 200
        assert (await get(sidecar, "/readyz/canary:a")).status == 503
        assert (await get(sidecar, "/readyz?exclude=model:a")).status == 200
        assert (await get(sidecar, "/healthz")).status == 200
        assert await metric(sidecar, 'inference_canary_passing{model="a",version=""}') == 0
        assert await metric(sidecar, 'inference_canary_configured{model="a",version=""}') == 1
        assert await metric(sidecar, 'inference_model_ready{model="a",version=""}') == 1
        assert await metric(sidecar, 'inference_canary_results_total{reason="error"}') >= 2
        document = json.loads((await get(sidecar, "/status")).text)
        server.inferences["a"] = True
        await asyncio.to_thread(sidecar.wait_for, "/readyz", 200)
        (record,) = await asyncio.to_thread(sidecar.logged, "canary:a is NOT_SERVING")
    assert record["detail"] == "INTERNAL: Stub process 'm_0_0' is not healthy."
    (found,) = [check for check in document["checks"] if check["name"] == "canary:a"]
    assert (found["rpc"], found["status"], found["reason"]) == (
        "ModelInfer",
        "NOT_SERVING",
        "error",
    )
    assert found["canary"]["payload"] == "built"
    assert found["canary"]["window"].count("x") >= 2
    assert len(found["canary"]["durations_seconds"]) == len(found["history"])


async def test_a_model_that_hangs_gets_one_request_and_no_traffic(server, tmp_path):
    with beside(server, tmp_path / "log", "--canary=auto", *FAST) as sidecar:
        await wait_for_line(sidecar, "[+]canary:a ok")
        server.inferences["a"] = Silence()
        await wait_for_line(sidecar, "[-]canary:a failed: timeout")
        assert server.inferring["a"] == 1
        name = 'inference_canary_pending_seconds{model="a",version=""}'
        assert await metric(sidecar, name) > TIMEOUT
        await wait_for_line(sidecar, "[+]canary:b ok")


async def test_a_restart_is_asked_for_and_withdrawn(server, tmp_path):
    after = "--canary-restart-after-seconds=1.2"
    with beside(server, tmp_path / "log", "--canary=auto", after, *FAST) as sidecar:
        await wait_for_line(sidecar, "[+]canary:a ok")
        await wait_for_line(sidecar, "[+]canary:b ok")
        server.inferences["a"] = DEAD
        await wait_for_line(sidecar, "[-]canary:a failed: error", "/healthz?verbose")
        assert (await get(sidecar, "/healthz")).status == 503
        assert await metric(sidecar, "inference_restarts_requested_total") == 1
        server.inferences["a"] = True
        await asyncio.to_thread(sidecar.wait_for, "/healthz", 200)


async def test_a_reload_switches_canaries_on_changes_their_requests_and_switches_them_off(
    server, tmp_path
):
    config = tmp_path / "sidecar.yaml"
    config.write_text("canary: off")
    folder = tmp_path / "canaries"
    folder.mkdir()
    flags = (f"--config={config}", f"--canary-dir={folder}", *FAST)
    with beside(server, tmp_path / "log", *flags) as sidecar:
        await asyncio.to_thread(sidecar.wait_for, "/readyz", 200)
        assert server.asked["ModelInfer"] == 0
        config.write_text("canary: auto")
        await wait_for_line(sidecar, "[+]canary:b ok")
        (folder / "a.json").write_text(json.dumps(REQUEST))
        expectation = {"outputs": [{"name": "x", "data": [1, 3]}]}
        (folder / "a.expect.json").write_text(json.dumps(expectation))
        await wait_for_line(sidecar, "[-]canary:a failed: wrong_output")
        (folder / "a.expect.json").write_text("{")
        await eventually(lambda: sidecar.records("reload rejected"))
        (folder / "a.expect.json").write_text('{"outputs": [{"name": "x", "data": [1, 2]}]}')
        await wait_for_line(sidecar, "[+]canary:a ok")
        (folder / "a.json").unlink()
        config.write_text("canary: off")
        await eventually(lambda: "canary" not in sidecar.get("/readyz?verbose").text)


async def test_the_drain_sends_none(server, tmp_path):
    flags = ("--canary=auto", "--drain-seconds=1.5", *FAST)
    with beside(server, tmp_path / "log", *flags) as sidecar:
        await wait_for_line(sidecar, "[+]canary:a ok")
        sidecar.signal()
        await eventually(lambda: sidecar.records("draining"))
        sent = server.asked["ModelInfer"]
        assert await asyncio.to_thread(sidecar.wait) == 0
    assert server.asked["ModelInfer"] <= sent + 2  # those that had begun
