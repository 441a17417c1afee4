"""How the end-to-end suite behaves: when it is skipped, what it shows, and that it cleans up."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.test_e2e_parts import nowhere
from tests.e2e.conftest import lacking
from tests.support import clean_environment, require_program, wait_until

ROOT = Path(__file__).parents[2]


def test_the_suite_says_all_that_it_lacks(tmp_path):
    nothing = lacking({"PATH": str(tmp_path)})
    assert [reason.split()[0] for reason in nothing] == ["kubectl", "KUBECONFIG", "IMAGE"]
    file = tmp_path / "config"
    environment = {**os.environ, "IMAGE": "image", "KUBECONFIG": str(file)}
    assert lacking(environment) == [f"KUBECONFIG is {file}, where there is no file"]
    file.touch()
    assert lacking(environment) == []


@contextlib.contextmanager
def suite(*arguments, **variables):
    """The suite as a process."""
    environment = {k: v for k, v in clean_environment().items() if k not in ("KUBECONFIG", "IMAGE")}
    command = [sys.executable, "-m", "pytest", "tests/e2e", "-p", "no:cacheprovider", *arguments]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**environment, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as popen:
        try:
            yield popen
        finally:
            popen.kill()


def test_without_a_cluster_the_suite_is_skipped_in_ci_too_and_says_why():
    with suite(CI="true", IMAGE="image") as popen:
        output, _ = popen.communicate(timeout=50)
    assert popen.returncode == 0
    assert "KUBECONFIG is not set" in output
    assert re.fullmatch(r"=+ \d+ skipped in .*", output.splitlines()[-1])


def test_a_cluster_that_does_not_answer_is_no_reason_to_skip(tmp_path):
    with suite("-k", "hung", IMAGE="image", KUBECONFIG=nowhere(tmp_path)) as popen:
        output, _ = popen.communicate(timeout=50)
    assert popen.returncode == 1
    assert "refused" in output


# It stands in for a cluster in the two tests below, which are about the suite and not about
# what a cluster does: it takes everything, and has no pod that is ready.
STAND_IN = """\
#!{python}
import json, os, sys
arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--namespace=")]
with open({calls!r}, "a") as calls:
    calls.write(" ".join(arguments) + "\\n")
if arguments[0] == "kustomize":
    os.execv({kubectl!r}, ["kubectl", *arguments])
if arguments[0] == "version":
    print(json.dumps({{"serverVersion": {{"major": "1", "minor": "30+"}}}}))
if arguments[0] == "apply" and {refused!r} in sys.stdin.read():
    sys.exit("no such luck")
if arguments[:2] == ["get", "pods"] and "--output=json" in arguments:
    pod = {{"metadata": {{"name": "pod-1"}}, "spec": {{"containers": [{{"name": "server"}}]}}}}
    print(json.dumps({{"items": [pod]}}))
elif arguments[0] == "get":
    print(json.dumps({{"items": []}}) if "--output=json" in arguments else "a table")
if arguments[0] == "logs":
    print("said by", arguments[1])
"""


@pytest.fixture
def stand_in(tmp_path):
    """Variables with which the suite finds the stand-in, and a way to its calls."""

    def make(refused):
        calls = tmp_path / "calls"
        program = tmp_path / "bin" / "kubectl"
        program.parent.mkdir()
        values = {"python": sys.executable, "calls": str(calls), "refused": refused}
        program.write_text(STAND_IN.format(kubectl=require_program("kubectl"), **values))
        program.chmod(0o755)
        (tmp_path / "config").touch()
        path = os.pathsep.join([str(program.parent), os.environ["PATH"]])
        variables = {"PATH": path, "KUBECONFIG": str(tmp_path / "config"), "IMAGE": "image"}
        return variables, lambda: calls.read_text().splitlines() if calls.exists() else []

    return make


def test_a_failing_test_shows_pods_events_and_logs_and_the_namespace_goes(stand_in):
    variables, calls = stand_in(refused='"scenario": "hung"')
    with suite("-k", "hung", **variables) as popen:
        output, _ = popen.communicate(timeout=50)
    assert popen.returncode == 1
    for title in ("pods\na table", "events\na table", "log of server in pod-1\nsaid by pod-1"):
        assert f"--- {title}" in output
    assert calls()[-1].startswith("delete namespace sidecar-e2e-")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_the_namespace_goes_when_the_suite_is_ended_from_outside(stand_in, signum):
    variables, calls = stand_in(refused="what is in no object")
    with suite("-k", "hung", **variables) as popen:
        # It waits for a pod that is ready.
        wait_until(lambda: "get pods --selector=scenario=hung --output=json" in calls(), within=30)
        popen.send_signal(signum)
        popen.communicate(timeout=50)
    assert popen.returncode == 2
    assert calls()[-1].startswith("delete namespace sidecar-e2e-")
