"""A single check against real servers: it ends when the model has loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.interop.inference_servers import InferenceServer, KServe, MLServer
from tests.support import clean_environment

# The first run installs the servers.
pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize("kind", [KServe, MLServer], ids=lambda kind: kind.environment.name)
def test_it_waits_for_the_server_and_then_until_the_model_has_loaded(
    kind: type[InferenceServer], tmp_path: Path
):
    server = kind(tmp_path)
    command = [sys.executable, "-m", "sidecar", "check", "--wait=120", "--models=first,second"]
    with subprocess.Popen(
        [*command, f"--server-url=127.0.0.1:{server.port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    ) as check:
        assert check.stderr is not None
        try:
            assert "server-live (unreachable)" in check.stderr.readline()
            server.start(loaded=["first"], loading=["second"])
            while "model:second (not_ready)" not in (line := check.stderr.readline()):
                assert line, check.communicate()
            server.load("second")
            stdout, _ = check.communicate(timeout=60)
        finally:
            check.kill()
            server.kill()
    assert (check.returncode, stdout) == (
        0,
        "[+]server-live ok\n[+]server-ready ok\n"
        "[+]model:first ok\n[+]model:second ok\nreadyz check passed\n",
    )
