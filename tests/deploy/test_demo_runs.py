"""The containers of deploy/demo.yaml, run as processes: what its probes ask is answered."""

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.manifests import DEPLOY, parse, settings_text, sidecar_of
from tests.support import clean_environment, free_port, http_get, wait_until
from tests.volume import Volume


@contextlib.contextmanager
def process(command, **environment):
    popen = subprocess.Popen(command, env=clean_environment(**environment))
    try:
        yield popen
    finally:
        if popen.poll() is None:
            popen.kill()
        popen.wait(10)


@pytest.mark.timeout(90)
def test_the_demos_server_and_sidecar_run_as_its_pod_says(tmp_path):
    items = parse((DEPLOY / "demo.yaml").read_text())
    (pod,) = [item["spec"]["template"]["spec"] for item in items if item["kind"] == "Deployment"]
    container, (server,) = sidecar_of(pod), pod["containers"]
    environment = {variable["name"]: variable["value"] for variable in container["env"]}

    # The image's interpreter and file system, and ports that are free here.
    port, server_port = free_port(), free_port()
    python, *arguments, listens = server["command"]
    assert (python, listens) == ("python", "8001")
    settings = settings_text(items, pod)
    assert "localhost:8001" in settings
    settings = settings.replace("localhost:8001", f"127.0.0.1:{server_port}")
    file = Path(environment["SIDECAR_CONFIG"]).name
    mounted = Volume(tmp_path / "settings")
    mounted.put(**{file: settings})
    environment["SIDECAR_CONFIG"] = str(mounted.folder / file)
    environment |= {"SIDECAR_HTTP_HOST": "127.0.0.1", "SIDECAR_HTTP_PORT": str(port)}

    def passes(probe):
        path = probe["httpGet"]["path"]
        with contextlib.suppress(ConnectionError):
            return http_get(port, path).status == 200
        return False

    def checks():
        return http_get(port, "/readyz?verbose").text

    with process([sys.executable, "-m", "sidecar"], **environment) as health:
        # The kubelet starts the server only once this has passed.
        wait_until(lambda: passes(container["startupProbe"]))
        # Nothing listens there, three times in a row.
        wait_until(lambda: not passes(server["livenessProbe"]))
        with process([sys.executable, *arguments, str(server_port)]) as serving:
            wait_until(lambda: passes(server["livenessProbe"]))
            # One model takes 8 seconds to load.
            assert not passes(server["startupProbe"])
            wait_until(lambda: passes(server["startupProbe"]), within=20)
            wait_until(lambda: passes(container["readinessProbe"]), within=20)
            assert passes(container["livenessProbe"])
            # Another ConfigMap of the same name, and no restart.
            assert "model:flaky" in checks()
            mounted.put(**{file: settings.replace("  - flaky", "  - steady:2")})
            wait_until(lambda: "model:flaky" not in checks())
            serving.send_signal(signal.SIGTERM)
            assert serving.wait(10) == 0
        wait_until(lambda: not passes(container["readinessProbe"]))
        health.send_signal(signal.SIGTERM)
        assert health.wait(5) == 0
