"""The end-to-end suite's server and client do as processes here what its promises rely on."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from sidecar.client import InferenceGRPCClient, InferInput, InferRequest
from tests.e2e import objects
from tests.e2e.scenario import FIND
from tests.support import clean_environment, eventually, free_port, running_sidecar, wait_until

# As in the image.
WITHOUT_NUMPY = """
import runpy, sys
sys.modules["numpy"] = None
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Script:
    """One of the suite's scripts, running."""

    def __init__(self, folder, name, *arguments):
        self.output = folder / f"{name}-{free_port()}.log"
        with self.output.open("wb") as log:
            script = objects.WORKLOAD / name
            command = [sys.executable, "-c", WITHOUT_NUMPY, script, *arguments]
            self.popen = subprocess.Popen(command, stdout=log, stderr=log, env=clean_environment())

    def lines(self):
        return self.output.read_text().splitlines()

    def says(self, line):
        wait_until(lambda: line in self.lines(), within=20)

    def worker(self):
        """The id of its one child."""
        pid = self.popen.pid
        (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(child)

    def stop(self):
        """As the kubelet does; its exit code."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.popen.kill()
        self.popen.wait()


def serving(folder, port, *arguments, health_port=9):
    """The server with what the container gives it: its orders, its last words."""
    (folder / "orders").mkdir(exist_ok=True)
    where = ("--host=127.0.0.1", f"--port={port}", f"--health-port={health_port}")
    files = (f"--orders={folder / 'orders'}", f"--last-words={folder / 'last-words'}")
    return Script(folder, "server.py", *where, *files, "--name=server", *arguments)


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def sidecar(tmp_path, port):
    """The sidecar beside it."""
    flags = (f"--server-url=127.0.0.1:{port}", "--models=m,m1")
    with running_sidecar(tmp_path / "sidecar.log", *flags) as running:
        yield running


def test_its_first_model_is_unready_while_that_is_ordered(tmp_path, port, sidecar):
    order = tmp_path / "orders" / "unready"
    with serving(tmp_path, port, "--models=2", "--unready"):
        sidecar.wait_for_line("[-]model:m failed: not_ready")
        sidecar.wait_for_line("[+]model:m1 ok")
        assert sidecar.get("/startupz").status == 503
        order.unlink()
        sidecar.wait_for("/readyz", 200)
        order.touch()
        sidecar.wait_for("/readyz", 503)
        assert sidecar.get("/healthz").status == 200


def test_it_exits_or_hangs_when_that_is_ordered_and_the_next_in_its_place_works(
    tmp_path, port, sidecar
):
    orders = tmp_path / "orders"
    with serving(tmp_path, port, "--models=2") as server:
        sidecar.wait_for("/readyz", 200)
        (orders / "crash").touch()
        assert server.popen.wait(10) == 1
    with serving(tmp_path, port, "--models=2") as server:
        sidecar.wait_for("/readyz", 200)
        (orders / "hang").touch()
        server.says("hangs")
        server.popen.send_signal(signal.SIGTERM)
        failing = sidecar.wait_for("/healthz", 503, within=20)
        assert "[-]server-live failed: timeout" in failing.text.splitlines()
        assert server.popen.poll() is None
    with serving(tmp_path, port, "--models=2"):
        sidecar.wait_for("/readyz", 200)


def test_it_can_be_ended_while_it_loads(tmp_path, port):
    with serving(tmp_path, port, "--load-seconds=120") as server:
        server.says("loads")
        assert server.stop() == 0


async def test_at_its_end_it_answers_what_is_in_flight_and_says_what_it_saw(
    tmp_path, port, sidecar
):
    with serving(tmp_path, port, health_port=sidecar.port) as server:
        await eventually(lambda: "serves" in server.lines(), within=20)
        async with client(port) as asking:
            asked = asyncio.create_task(infer(asking, milliseconds=2000))
            assert (await infer(asking)).parameters == {"server": "server"}
            assert await asyncio.to_thread(server.stop) == 0
            assert (await asked).outputs[0].as_numpy() == [1]
    words = json.loads((tmp_path / "last-words").read_text())
    assert server.lines()[-1] == json.dumps(words)
    assert (words["livez_at_start"], words["livez_at_end"]) == (200, 200)
    assert words["ended_at"] - words["told_at"] > 1


async def test_without_its_worker_its_inferences_hang_or_fail_and_it_is_live_and_ready(
    tmp_path, port, sidecar
):
    with serving(tmp_path, port, "--models=2") as server:
        await eventually(lambda: "serves" in server.lines(), within=20)
        async with client(port) as asking:
            await infer(asking)
            os.kill(server.worker(), signal.SIGSTOP)
            asked = [asyncio.create_task(infer(asking)) for _ in range(2)]
            done, _ = await asyncio.wait(asked, timeout=0.5)
            assert not done
            asked.pop().cancel()
            os.kill(server.worker(), signal.SIGCONT)
            await asked.pop()

            waiting = asyncio.create_task(infer(asking, milliseconds=60_000))
            await infer(asking)
            os.kill(server.worker(), signal.SIGKILL)
            for dead in (waiting, infer(asking)):
                with pytest.raises(grpc.RpcError) as error:
                    await dead
                assert error.value.code() is grpc.StatusCode.INTERNAL
        await asyncio.to_thread(sidecar.wait_for, "/readyz", 200)
        assert await asyncio.to_thread(server.stop) == 0


def client(port):
    return InferenceGRPCClient(f"127.0.0.1:{port}", retries=1, timeout=10)


async def infer(asking, milliseconds=0):
    tensor = InferInput("x", [1], "INT32", [1])
    takes = {"milliseconds": milliseconds}
    return await asking.infer(InferRequest("m", [tensor], parameters=takes))


def test_the_client_counts_what_is_lost_with_a_server_that_is_killed(tmp_path, port):
    with (
        serving(tmp_path, port) as server,
        Script(tmp_path, "load.py", f"127.0.0.1:{port}") as load,
    ):

        def tally():
            return json.loads((load.lines() or ['{"servers": {}, "lost": {}}'])[-1])

        wait_until(lambda: tally()["servers"].get("server", 0) > 20, within=30)
        server.popen.kill()
        wait_until(lambda: tally()["lost"], within=20)
        assert load.stop() == 0
    result = tally()
    assert result["done"]
    assert result["sent"] == result["answered"] + sum(result["lost"].values())
    assert all(reason.startswith("UNAVAILABLE: ") for reason in result["lost"])


def test_the_processes_that_are_sent_signals_are_found_by_their_programs(tmp_path, port):
    program = (str(Path(sys.executable).with_name("sidecar")),)
    with (
        running_sidecar(tmp_path / "log", f"--server-url=127.0.0.1:{port}", program=program) as one,
        serving(tmp_path, port) as server,
    ):
        server.says("serves")
        # Others may run on this machine; in the pod they are the only ones.
        ours = {one.process.pid, server.popen.pid, server.worker()}
        assert ours & found("sidecar") == {one.process.pid}
        assert ours & found("worker.py") == {server.worker()}


def found(program):
    command = [sys.executable, "-c", f"{FIND}print(*find({program!r}))"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {int(pid) for pid in told.split()}
