"""The end-to-end suite's server and client, as processes here, do what its tests rely on."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sidecar.client import InferenceGRPCClient, InferInput, InferRequest
from tests.e2e import objects
from tests.e2e.scenario import FIND
from tests.faults.proxy import Proxy
from tests.support import clean_environment, eventually, free_port, running_sidecar, wait_until

SETTINGS = yaml.safe_load((objects.WORKLOAD / "sidecar.yaml").read_text())


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

    def stop(self):
        """As the kubelet does; its exit code."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.popen.kill()
        self.popen.wait()


def serving(folder, port, *arguments, health_port=9, name="server"):
    """The server with what the container gives it: its orders, its last words."""
    orders = folder / "orders"
    orders.mkdir(exist_ok=True)
    where = ("--host=127.0.0.1", f"--port={port}", f"--health-port={health_port}")
    files = (f"--orders={orders}", f"--last-words={folder / 'last-words'}")
    return Script(folder, "server.py", *where, *files, f"--name={name}", *arguments)


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def sidecar(tmp_path, port):
    """The sidecar with the settings of the suite."""
    settings = {
        **SETTINGS,
        "server_url": f"127.0.0.1:{port}",
        "models": ",".join(SETTINGS["models"]),
    }
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items()]
    with running_sidecar(tmp_path / "sidecar.log", *flags) as running:
        yield running


def test_its_model_is_unready_as_long_as_that_is_ordered(tmp_path, port, sidecar):
    order = tmp_path / "orders" / "unready"
    with serving(tmp_path, port):
        sidecar.wait_for("/readyz", 200)
        order.touch()
        failing = sidecar.wait_for("/readyz", 503)
        assert "[-]model:m failed: not_ready" in failing.text.splitlines()
        assert sidecar.get("/healthz").status == 200
        order.unlink()
        sidecar.wait_for("/readyz", 200)


def test_it_can_begin_unready(tmp_path, port, sidecar):
    with serving(tmp_path, port, "--unready"):
        sidecar.wait_for("/healthz", 200)
        sidecar.wait_for_line("[-]model:m failed: not_ready")
        assert sidecar.get("/startupz").status == 503
        (tmp_path / "orders" / "unready").unlink()
        sidecar.wait_for("/startupz", 200)


def test_hung_it_heeds_no_sigterm_fails_healthz_and_the_next_in_its_place_works(
    tmp_path, port, sidecar
):
    order = tmp_path / "orders" / "hang"
    with serving(tmp_path, port) as server:
        sidecar.wait_for("/healthz", 200)
        order.touch()
        wait_until(lambda: "hangs" in server.lines())
        server.popen.send_signal(signal.SIGTERM)
        failing = sidecar.wait_for("/healthz", 503, within=20)
        assert "[-]server-live failed: timeout" in failing.text.splitlines()
        assert server.popen.poll() is None
        assert not order.exists()
    with serving(tmp_path, port):
        sidecar.wait_for("/healthz", 200)


def test_it_listens_only_when_it_has_loaded(tmp_path, port, sidecar):
    with serving(tmp_path, port, "--load-seconds=3"):
        sidecar.wait_for_line("[-]server-live failed: unreachable", "/startupz?verbose", within=2)
        sidecar.wait_for("/startupz", 200)


def test_it_can_be_ended_while_it_loads(tmp_path, port):
    with serving(tmp_path, port, "--load-seconds=120") as server:
        wait_until(lambda: "loads" in server.lines())
        assert server.stop() == 0


async def test_at_the_end_it_answers_what_is_in_flight_and_says_what_it_saw(
    tmp_path, port, sidecar
):
    with serving(tmp_path, port, health_port=sidecar.port) as server:
        await eventually(lambda: "serves" in server.lines())
        async with InferenceGRPCClient(f"127.0.0.1:{port}", retries=1, timeout=10) as client:
            tensor = InferInput("x", [1], "INT32", [1])
            takes = {"milliseconds": 7000}
            asked = asyncio.create_task(client.infer(InferRequest("m", [tensor], parameters=takes)))
            await asyncio.to_thread(subprocess.run, pre_stop(tmp_path / "orders"), check=True)
            assert await asyncio.to_thread(server.stop) == 0
            assert (await asked).parameters == {"server": "server"}
    words = json.loads((tmp_path / "last-words").read_text())
    assert server.lines()[-1] == json.dumps(words)
    assert (words["livez_at_start"], words["livez_at_end"]) == (200, 200)
    assert words["told_at"] - words["leaving_at"] >= 5
    assert words["ended_at"] - words["told_at"] > 1


def pre_stop(orders):
    """The container's preStop, for a folder here."""
    (deployment, _) = objects.inference("one")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    python, *arguments = container["lifecycle"]["preStop"]["exec"]["command"]
    assert python == "python"
    assert any("/orders/" in argument for argument in arguments)
    return [sys.executable, *(a.replace("/orders", str(orders)) for a in arguments)]


@contextlib.contextmanager
def load(folder, port):
    """The client, and how to read its last line."""
    with Script(folder, "load.py", f"127.0.0.1:{port}") as client:

        def tally():
            lines = client.lines()
            return json.loads(lines[-1]) if lines else {"servers": {}, "done": False}

        yield client, tally


def test_the_client_loses_nothing_while_its_server_is_replaced_in_order(tmp_path):
    # The Service: connections stay where they are, new ones go to the new server.
    old, new = free_port(), free_port()
    with serving(tmp_path, old, name="old") as first, serving(tmp_path, new, name="new") as second:
        wait_until(lambda: first.lines() == second.lines() == ["loads", "serves"])
        with Proxy(old) as service, load(tmp_path, service.port) as (client, tally):
            wait_until(lambda: tally()["servers"].get("old", 0) > 50, within=20)
            service._target = new
            wait_until(lambda: tally()["servers"].get("new", 0) > 20, within=20)
            assert first.stop() == 0
            before = tally()["servers"]["new"]
            wait_until(lambda: tally()["servers"]["new"] > before + 50, within=20)
            assert client.stop() == 0
    result = tally()
    assert result["done"]
    assert result["lost"] == {}
    assert result["sent"] == sum(result["servers"].values()) == result["answered"]


def test_the_client_counts_what_is_lost_with_a_server_that_is_killed(tmp_path):
    port = free_port()
    with serving(tmp_path, port) as server, load(tmp_path, port) as (client, tally):
        wait_until(lambda: tally()["servers"].get("server", 0) > 20, within=20)
        server.popen.kill()
        wait_until(lambda: tally()["lost"], within=20)
        assert client.stop() == 0
    result = tally()
    assert result["sent"] == result["answered"] + sum(result["lost"].values())
    assert all(reason.startswith("UNAVAILABLE: ") for reason in result["lost"])


def test_the_sidecars_process_is_found_and_the_servers_is_not(tmp_path, port):
    program = (str(Path(sys.executable).with_name("sidecar")),)
    with (
        running_sidecar(tmp_path / "log", f"--server-url=127.0.0.1:{port}", program=program) as one,
        serving(tmp_path, port) as server,
    ):
        wait_until(lambda: "serves" in server.lines())
        told = subprocess.run(
            [sys.executable, "-c", FIND + "print(*found)"],
            capture_output=True,
            text=True,
            check=True,
        )
        # Others may run on this machine; in the pod it is the only one.
        found = {int(pid) for pid in told.stdout.split()}
        assert one.process.pid in found
        assert server.popen.pid not in found
