"""The command that sends one canary: what it prints, what it writes, what it ends with."""

import asyncio
import json
import subprocess

import grpc
import pytest

from sidecar.cli import main
from sidecar.demo.inference import Tensor
from sidecar.demo.server import Refusal, Silence, ToyServer
from tests.support import sidecar

REQUEST = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": [7]}]}

pytestmark = pytest.mark.usefixtures("restored_signals")


async def send(server: ToyServer, *flags: str) -> subprocess.CompletedProcess[str]:
    url = f"--server-url=127.0.0.1:{server.port}"
    return await asyncio.to_thread(sidecar, "canary", *flags, url, "--canary-timeout-seconds=0.5")


@pytest.fixture
async def server():
    async with ToyServer({"a": True, "a:3": True}) as started:
        yield started


async def test_it_prints_the_request_the_outputs_and_how_long_it_took(server):
    done = await send(server, "a")
    request, output, result = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    (tensor,) = json.loads(request.removeprefix("request: "))["inputs"]
    assert (tensor["name"], tensor["datatype"], tensor["shape"]) == ("x", "FP32", [1, 4])
    assert output == "output 'x': FP32 [1, 4]"
    assert result.startswith("canary:a: ok after 0.")


async def test_a_request_that_is_given_for_the_model_is_sent(server, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(REQUEST))
    done = await send(server, "a", "--models=a", f"--canary-dir={tmp_path}")
    assert json.loads(done.stdout.splitlines()[0].removeprefix("request: ")) == REQUEST


async def test_what_it_saves_is_a_canary(server, tmp_path):
    file = tmp_path / "a.json"
    done = await send(server, "a", f"--save={file}")
    assert done.returncode == 0
    assert f"wrote {file} and {tmp_path / 'a.expect.json'}" in done.stdout
    again = await send(server, "a", "--models=a", f"--canary-dir={tmp_path}")
    assert again.returncode == 0
    expected = json.loads((tmp_path / "a.expect.json").read_text())
    expected["outputs"][0]["data"][0] += 1
    (tmp_path / "a.expect.json").write_text(json.dumps(expected))
    wrong = await send(server, "a", "--models=a", f"--canary-dir={tmp_path}")
    assert wrong.returncode == 1
    assert "canary:a: wrong_output after " in wrong.stdout


@pytest.mark.parametrize(
    ("reply", "code", "text"),
    [
        (Refusal(grpc.StatusCode.INTERNAL, "dead"), 1, "canary:a: error after"),
        (Silence(), 4, "canary:a: timeout after"),
    ],
    ids=["error", "timeout"],
)
async def test_a_failure_has_the_exit_code_of_a_check(server, reply, code, text):
    server.inferences["a"] = reply
    done = await send(server, "a")
    assert done.returncode == code
    assert text in done.stdout


async def test_what_has_no_json_form_is_said(server):
    server.inputs["a"] = [Tensor("x", "FP16", (2,))]
    done = await send(server, "a")
    assert done.returncode == 0
    assert done.stdout.startswith("request: tensor 'x': FP16 has no JSON form\n")


async def test_other_ends(server):
    server.inputs["a"] = ()
    done = await send(server, "a")
    assert (done.returncode, "declares no inputs" in done.stdout) == (1, True)
    server.models["a"] = False
    done = await send(server, "a")
    assert (done.returncode, done.stdout) == (1, "canary:a: the model is not ready\n")
    port, server.port = server.port, 1
    done = await send(server, "a:3")
    server.port = port
    assert (done.returncode, "canary:a:3: unreachable" in done.stdout) == (3, True)


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ([], "canary: no model is given; sidecar canary MODEL, its name or name:version"),
        (["a", "b"], "b: unexpected; flags begin with --"),
        (
            ["a", "--save=x.yaml"],
            "save: given 'x.yaml' by --save; allowed: the path of a .json file",
        ),
    ],
)
def test_wrong_arguments_are_named(args, text, capsys):
    assert main(["canary", *args]) == 2
    assert text in capsys.readouterr().err
