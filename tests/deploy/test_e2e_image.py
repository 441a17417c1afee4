"""The end-to-end suite's scripts run in the image, by the commands that the suite gives."""

import contextlib
import json
import signal

import pytest

from tests.deploy.images import HARDENED, Podman
from tests.deploy.manifests import pod_of
from tests.e2e import objects
from tests.e2e.cluster import Cluster
from tests.e2e.report import Report
from tests.e2e.scenario import Scenario
from tests.support import free_port, http_get, wait_until

pytestmark = pytest.mark.timeout(300)  # the image's base is made the first time

READY = 200


class Containers:
    """Containers of the image by name, whose Python runs as by kubectl exec."""

    def __init__(self, podman: Podman, prefix: str) -> None:
        self._podman = podman
        self._prefix = prefix

    @contextlib.contextmanager
    def running(self, name, *command, options=()):
        where = ("run", "--detach", f"--name={self._prefix}-{name}", *HARDENED, *options)
        try:
            self._podman(*where, self._podman.image, *command)
            yield
        finally:
            self._podman("rm", "--force", "--ignore", "--time=0", f"{self._prefix}-{name}")

    def python(self, pod: str, container: str, code: str, within: float = 60) -> str:
        """As `Kubectl.python`, of the one pod that there is."""
        assert (pod, within) == ("pod", 60)
        return self._podman("exec", f"{self._prefix}-{container}", "python", "-c", code).stdout

    def logs(self, name: str) -> list[str]:
        return self._podman("logs", f"{self._prefix}-{name}").stdout.splitlines()

    def stop(self, name: str) -> int:
        """As the kubelet does it; its exit code."""
        self._podman("stop", "--time=30", f"{self._prefix}-{name}")
        return self.exit_code(name)

    def exit_code(self, name: str) -> int:
        return int(self._podman("wait", f"{self._prefix}-{name}").stdout)

    def within(self, name: str) -> str:
        """The option that lets a container share another's processes."""
        return f"--pid=container:{self._prefix}-{name}"


@pytest.fixture
def containers(tmp_path):
    podman = Podman()
    podman.make_image()
    return Containers(podman, f"e2e-{tmp_path.parent.name}-{tmp_path.name}"[:60])


@pytest.fixture
def mounts(tmp_path):
    """What the pod mounts, and the kubelet's file for the last words."""
    scripts, orders, words = (tmp_path / name for name in ("scripts", "orders", "words"))
    for folder in (scripts, orders):
        folder.mkdir()
    for script, text in objects.scripts()["data"].items():
        (scripts / script).write_text(text)
        (scripts / script).chmod(0o644)
    words.touch()
    scripts.chmod(0o755)
    orders.chmod(0o777)
    words.chmod(0o666)
    return (
        f"--volume={scripts}:/scripts:ro",
        f"--volume={orders}:/orders",
        f"--volume={words}:/dev/termination-log",
    )


def command(item):
    """The options and arguments with which podman runs an object's first container."""
    program, *rest = pod_of(item)["containers"][0]["command"]
    return f"--entrypoint={program}", rest


def test_the_server_the_sidecar_and_the_client_do_in_the_image_what_the_suite_tells_them(
    containers, mounts, tmp_path
):
    deployment, _ = objects.inference("one", objects.Shape())
    port, health = free_port(), free_port()
    told = Scenario(Cluster(containers), "image", "one", "", Report())

    def answers(path):
        with contextlib.suppress(OSError):
            return http_get(health, path).status
        return None

    python, script = command(deployment)
    where = ("--host=127.0.0.1", f"--port={port}", f"--health-port={health}")
    settings = (
        f"--env=SIDECAR_SERVER_URL=127.0.0.1:{port}",
        f"--env=SIDECAR_HTTP_PORT={health}",
        "--env=SIDECAR_MODELS=m",
        "--env=SIDECAR_HTTP_HOST=127.0.0.1",
        "--env=SIDECAR_DRAIN_SECONDS=0",
    )
    with containers.running("server", *script, *where, options=(python, *mounts)):
        shared = (*settings, containers.within("server"))
        with containers.running("health", options=shared):
            wait_until(lambda: answers("/readyz") == READY, 20)
            told.order("pod", "unready")
            wait_until(lambda: answers("/readyz") == 503, 20)
            told.revoke("pod", "unready")
            wait_until(lambda: answers("/readyz") == READY, 20)

            python, script = command(objects.load("load", ""))
            with containers.running(
                "load", *script, f"127.0.0.1:{port}", options=(python, mounts[0])
            ):
                wait_until(lambda: len(containers.logs("load")) >= 2, 20)
                containers.python("pod", "load", "import os, signal; os.kill(1, signal.SIGTERM)")
                assert containers.exit_code("load") == 0
                tally = json.loads(containers.logs("load")[-1])
            assert tally["done"]
            assert tally["lost"] == {}
            assert tally["sent"] == tally["answered"] > 20

            told.signal("pod", "worker.py", signal.SIGKILL)
            wait_until(lambda: "worker ended" in containers.logs("server"), 20)
            told.signal("pod", "sidecar", signal.SIGSTOP)
            wait_until(lambda: answers("/livez") is None, 20)
            told.signal("pod", "sidecar", signal.SIGKILL)
            assert containers.exit_code("health") == 128 + 9
        with containers.running("health", options=settings):
            wait_until(lambda: answers("/readyz") == READY, 20)
            assert containers.stop("server") == 0
            words = json.loads((tmp_path / "words").read_text())
            assert words["livez_at_end"] == READY
            assert containers.stop("health") == 0
