"""What an import of the client loads, and what the daemon loads of the client."""

import asyncio
import json
import sys

import pytest

import sidecar.client
from sidecar.demo.server import ToyServer
from tests.support import python, running_sidecar

# What only the daemon needs, and numpy, which only arrays need.
HEAVY = ("numpy", "aiohttp", "pydantic", "prometheus_client", "yaml")

# What only inference needs.
INFERENCE = (
    "sidecar.client.client",
    "sidecar.client.inference",
    "sidecar.client.wire",
)

IMPORT_TIME = ("-X", "importtime")


def loaded_by(code: str) -> set[str]:
    """The modules of an interpreter that has run this code."""
    result = python("-c", f"{code}; import json, sys; print(json.dumps(sorted(sys.modules)))")
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout))


def in_report(report: str) -> set[str]:
    """The modules in a report of `python -X importtime`."""
    lines = [line for line in report.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def test_importing_every_public_name_loads_nothing_that_only_the_daemon_needs():
    loaded = loaded_by("from sidecar.client import *")
    assert set(INFERENCE) < loaded
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize("module", ["client", "client.channel", "client.health"])
def test_importing_the_health_calls_does_not_load_inference(module):
    loaded = loaded_by(f"import sidecar.{module}")
    assert f"sidecar.{module}" in loaded
    assert not loaded & {*INFERENCE, *HEAVY}


async def test_the_daemon_loads_no_inference_and_no_numpy(tmp_path):
    async with ToyServer({"m": True}) as server:
        with running_sidecar(
            tmp_path / "log",
            f"--server-url=127.0.0.1:{server.port}",
            "--models=m",
            program=(sys.executable, *IMPORT_TIME, "-m", "sidecar"),
        ) as daemon:
            await asyncio.to_thread(daemon.wait_for, "/readyz", 200)
            loaded = in_report(daemon.log)
    assert "sidecar.client.health" in loaded
    assert not loaded & {*INFERENCE, "numpy"}


async def test_a_single_check_loads_no_inference_and_no_numpy():
    async with ToyServer({"m": True}) as server:
        args = ("-m", "sidecar", "check", f"--server-url=127.0.0.1:{server.port}", "--models=m")
        result = await asyncio.to_thread(python, *IMPORT_TIME, *args)
    loaded = in_report(result.stderr)
    assert result.returncode == 0, result.stdout
    assert "sidecar.client.health" in loaded
    assert not loaded & {*INFERENCE, "numpy"}


def test_every_public_name_can_be_imported_and_is_listed():
    names = sidecar.client.__all__
    for name in names:
        assert getattr(sidecar.client, name) is not None
    assert set(names) <= set(dir(sidecar.client))
    code = f"from sidecar.client import *; assert {set(names)} <= set(globals())"
    assert python("-c", code).returncode == 0


def test_the_names_are_listed_before_they_are_imported():
    code = f"import sidecar.client as c; assert {set(sidecar.client.__all__)} <= set(dir(c))"
    assert not loaded_by(code) & set(INFERENCE)


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match=r"'sidecar\.client' has no attribute 'Nothing'"):
        getattr(sidecar.client, "Nothing")  # noqa: B009 # mypy refuses the attribute, as it should
    with pytest.raises(ImportError, match="cannot import name 'Nothing'"):
        exec("from sidecar.client import Nothing")
