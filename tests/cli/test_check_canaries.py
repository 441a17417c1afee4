"""A single check with canaries: one result of each decides."""

import asyncio
import subprocess

import grpc
import pytest

from sidecar.demo.server import Refusal, Silence, ToyServer
from tests.support import eventually, sidecar

CANARY = (
    "--canary=auto",
    "--canary-timeout-seconds=0.3",
    "--canary-period-seconds=0.2",
)


async def checked(server: ToyServer, *flags: str) -> subprocess.CompletedProcess[str]:
    url = f"--server-url=127.0.0.1:{server.port}"
    return await asyncio.to_thread(sidecar, "check", url, "--models=a", *CANARY, *flags)


async def test_an_inference_is_part_of_a_check():
    async with ToyServer({"a": True}) as server:
        done = await checked(server)
    assert (done.returncode, server.asked["ModelInfer"]) == (0, 1)
    assert "[+]canary:a ok\n" in done.stdout


@pytest.mark.parametrize(
    ("reply", "reason", "code"),
    [
        (Refusal(grpc.StatusCode.INTERNAL, "dead"), "error", 1),
        (Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "full"), "busy", 1),
        (Silence(), "timeout", 4),
    ],
    ids=["error", "busy", "timeout"],
)
async def test_one_result_of_a_canary_decides(reply, reason, code):
    async with ToyServer({"a": True}) as server:
        server.inferences["a"] = reply
        done = await checked(server)
    assert (done.returncode, server.asked["ModelInfer"]) == (code, 1)
    assert f"[-]canary:a failed: {reason}\n" in done.stdout


async def test_a_canary_without_a_request_is_no_failure():
    async with ToyServer({"a": True}) as server:
        server.inputs["a"] = ()
        done = await checked(server)
    assert done.returncode == 0
    assert "[+]canary:a ok: unconfigured\n" in done.stdout
    assert "canary:a: the model's metadata declares no inputs\n" in done.stderr


async def test_a_model_that_is_not_ready_is_sent_no_canary():
    async with ToyServer({"a": False}) as server:
        done = await checked(server)
    assert (done.returncode, server.asked["ModelInfer"]) == (1, 0)


async def test_to_wait_is_to_wait_until_an_inference_works():
    async with ToyServer({"a": True}) as server:
        server.inferences["a"] = Refusal(grpc.StatusCode.INTERNAL, "dead")
        waiting = asyncio.create_task(checked(server, "--wait=30"))
        await eventually(lambda: server.asked["ModelInfer"] > 2)
        server.inferences["a"] = True
        done = await waiting
    assert done.returncode == 0
    assert "[+]canary:a ok\n" in done.stdout


async def test_a_wait_that_ends_without_one_says_so():
    async with ToyServer({"a": True}) as server:
        server.inferences["a"] = Silence()
        done = await checked(server, "--wait=1")
    assert done.returncode == 4
    assert "[-]canary:a failed: timeout\n" in done.stdout
