"""What pip makes of the checkout in an empty environment, which is what a user gets."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import running_sidecar

pytestmark = pytest.mark.timeout(300)

CHECKOUT = Path(__file__).parents[2]


def test_an_installed_sidecar_runs_its_demo_away_from_the_checkout(tmp_path, monkeypatch):
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip = [venv / "bin" / "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", CHECKOUT], check=True)
    monkeypatch.chdir(tmp_path)
    program = [str(venv / "bin" / "sidecar")]
    with running_sidecar(tmp_path / "log", command="demo", program=program) as demo:
        demo.wait_for_line("[+]model:steady ok")
        demo.signal()
        assert demo.wait() == 0
