"""What KServe's client and types get wrong works here, shown on both in one run."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop import mended
from tests.interop.environments import KSERVE

# The first run installs KServe.
pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server that echoes, in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.client.echo"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        yield f"127.0.0.1:{int(process.stdout.readline())}"
        process.communicate()


def failed(python: str, package: str, address: str) -> dict[str, str]:
    """The cases that a package fails, and why."""
    done = subprocess.run(
        [python, mended.__file__, package, address],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def ours(address: str) -> dict[str, str]:
    """What fails here."""
    return failed(sys.executable, "sidecar.client", address)


@pytest.fixture(scope="module")
def theirs(address: str) -> dict[str, str]:
    """What fails on KServe's."""
    return failed(KSERVE.program("python"), "kserve", address)


@pytest.mark.parametrize("case", mended.CASES)
def test_it_works_here_and_not_there(case, ours, theirs):
    assert ours.get(case, "") == ""
    assert case in theirs
