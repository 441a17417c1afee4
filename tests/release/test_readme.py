"""The README's commands, as written, in a fresh clone; those that need a cluster are left out."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, blocks, section
from tests.support import clean_environment, http_get, wait_until

BLOCKS = blocks(section((ROOT / "README.md").read_text(), "Try it"), "sh")
LINES = [line.split("  ")[0] for block in BLOCKS for line in block.splitlines()]
# `make test` runs these tests' neighbours; the others need docker and a cluster.
LEFT_OUT = {
    "make test",
    "make image",
    "kind create cluster",
    "kubectl apply -f deploy/demo.yaml",
    "kubectl get pods --watch",
}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone") / "inference-health-sidecar"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    return folder


def environment() -> dict[str, str]:
    """As a user has it: nothing of this environment, and its Python first in the path."""
    left_out = ("MAKE", "VIRTUAL_ENV", "PYTHONPATH")
    found = {k: v for k, v in clean_environment().items() if not k.startswith(left_out)}
    return {**found, "PATH": f"{Path(sys.base_prefix, 'bin')}{os.pathsep}{found['PATH']}"}


def shows_the_demo(command: str, folder: Path, log: Path) -> bool:
    """Whether the demo answers on its port; it is ended then."""
    with log.open("wb") as stream:
        running = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=folder, env=environment(), stdout=stream, stderr=stream, start_new_session=True,
        )  # fmt: skip
        try:
            return wait_until(lambda: is_ready(9808) or running.poll() is not None, within=200)
        finally:
            os.killpg(running.pid, signal.SIGTERM)
            running.wait(20)


def is_ready(port: int) -> bool:
    try:
        return http_get(port, "/livez").status == 200
    except OSError:
        return False


def test_every_command_is_run_or_left_out_for_a_reason():
    run = {"make demo", *(line for line in LINES if ".venv/bin" in line)}
    others = {line for line in LINES if line not in {*run, *LEFT_OUT}}
    assert {line.rpartition(" ")[0] for line in others} == {"kind load docker-image"}


def test_they_work_from_top_to_bottom(clone, tmp_path):
    log = tmp_path / "log"
    assert shows_the_demo("make demo", clone, log), log.read_text()
    assert "is listening" in log.read_text()
    for line in (line for line in LINES if ".venv/bin" in line):
        if line.endswith("sidecar demo"):
            assert shows_the_demo(line, clone, log), log.read_text()
            continue
        done = subprocess.run(
            ["bash", "-c", line], cwd=clone, env=environment(), capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    assert "1 pod with an inference server: 0 errors, 0 warnings" in done.stdout
