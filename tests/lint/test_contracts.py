"""The import contracts cover a module that nobody has entered anywhere."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


@pytest.fixture
def copy(tmp_path):
    """A copy of the package and its contracts."""
    shutil.copytree(ROOT / "sidecar", tmp_path / "sidecar")
    shutil.copy(ROOT / ".importlinter", tmp_path)
    return tmp_path


def lint(folder: Path) -> tuple[int, str]:
    command = (LINT_IMPORTS, "--no-cache")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_package_keeps_its_contracts(copy):
    assert lint(copy)[0] == 0


@pytest.mark.parametrize(
    ("module", "imports", "contract"),
    [
        ("core/scratch.py", "asyncio", "The core knows no clock"),
        ("core/scratch.py", "grpc", "import gRPC"),
        ("outputs/scratch.py", "grpc", "import gRPC"),
        ("config/scratch.py", "grpc", "import gRPC"),
        ("cli/scratch.py", "grpc", "import gRPC"),
        ("probes/scratch.py", "aiohttp", "import aiohttp"),
        ("cli/scratch.py", "prometheus_client", "import aiohttp"),
        ("outputs/scratch.py", "pydantic", "import pydantic"),
        ("probes/scratch.py", "pydantic", "import pydantic"),
        ("client/scratch.py", "sidecar.core.checks", "knows nothing of the sidecar"),
        ("outputs/scratch.py", "sidecar.outputs.log", "No output knows another"),
        ("scratch.py", "grpc", "import gRPC"),
    ],
)
def test_a_new_module_that_imports_what_it_should_not_breaks_a_contract(
    copy, module, imports, contract
):
    (copy / "sidecar" / module).write_text(f'"""Scratch."""\n\nimport {imports}\n')
    code, report = lint(copy)
    assert code == 1
    assert contract in report
    assert "scratch" in report
