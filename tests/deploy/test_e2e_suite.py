"""When the end-to-end suite is skipped, when it gives up a wait, and what it reports."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.deploy.test_e2e_parts import nowhere
from tests.e2e.cluster import Cluster
from tests.e2e.conftest import lacking, numbers
from tests.e2e.kubectl import Kubectl
from tests.e2e.promise import Promise, Promises
from tests.e2e.report import BROKEN, KEPT, SKIPPED, Report, Row
from tests.e2e.scenario import Scenario
from tests.support import clean_environment

ROOT = Path(__file__).parents[2]


def test_the_suite_says_all_that_it_lacks(tmp_path):
    nothing = lacking({"PATH": str(tmp_path)})
    assert [reason.split()[0] for reason in nothing] == ["kubectl", "KUBECONFIG", "IMAGE"]
    file = tmp_path / "config"
    environment = {**os.environ, "IMAGE": "image", "KUBECONFIG": str(file)}
    assert lacking(environment) == [f"KUBECONFIG is {file}, where there is no file"]
    file.touch()
    assert lacking(environment) == []


@pytest.mark.parametrize(
    ("version", "expected"), [("v1.36.2", (1, 36)), ("v1.34+", (1, 34)), ("v1.31.0-eks-1", (1, 31))]
)
def test_the_version_of_a_cluster_is_read_as_providers_write_it(version, expected):
    assert numbers(version) == expected


def suite(*arguments, **variables):
    """The suite as a process: its exit code and its output."""
    environment = {k: v for k, v in clean_environment().items() if k not in ("KUBECONFIG", "IMAGE")}
    command = [sys.executable, "-m", "pytest", "tests/e2e", "-p", "no:cacheprovider", *arguments]
    environment |= variables
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=50, check=False
    )
    return done.returncode, done.stdout


def test_without_a_cluster_the_suite_is_skipped_in_ci_too_and_says_why():
    code, output = suite(CI="true", IMAGE="image")
    assert code == 0
    assert "KUBECONFIG is not set" in output
    assert re.fullmatch(r"=+ \d+ skipped in .*", output.splitlines()[-1])


def test_a_cluster_that_does_not_answer_is_no_reason_to_skip(tmp_path):
    code, output = suite("-k", "hung", IMAGE="image", KUBECONFIG=nowhere(tmp_path))
    assert code == 1
    assert "refused" in output


@pytest.fixture
def cluster():
    """A namespace of which nothing is known but what the test tells."""
    return Cluster(Kubectl("none"))


def waiting(reason):
    told = {"reason": reason, "message": f"{reason}: no such thing"}
    statuses = [{"name": "health", "restartCount": 1, "state": {"waiting": told}}]
    return {
        "metadata": {"name": "one-1", "labels": {"scenario": "one"}},
        "status": {"initContainerStatuses": statuses},
    }


def scenario(cluster, report=None):
    return Scenario(cluster, "image", "one", "one is kept", report or Report())


@pytest.mark.parametrize(
    "reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CrashLoopBackOff"]
)
def test_a_wait_for_a_pod_that_cannot_run_ends_at_once_with_what_the_kubelet_says(cluster, reason):
    cluster.tell("pods", "ADDED", waiting(reason))
    began = time.monotonic()
    expected = rf"^one-1, container health: {reason}: {reason}: no such thing$"
    with pytest.raises(pytest.fail.Exception, match=expected):
        scenario(cluster).wait(lambda: False, within=30)
    assert time.monotonic() - began < 5


def test_a_wait_goes_on_where_a_crash_loop_is_meant(cluster):
    cluster.tell("pods", "ADDED", waiting("CrashLoopBackOff"))
    made = scenario(cluster)
    made.may_crash = True
    assert made.wait(made.pods, within=5).keys() == {"one-1"}


def test_a_wait_ends_with_its_last_value(cluster):
    with pytest.raises(pytest.fail.Exception, match=r"after 0 s the condition is still \[\]"):
        scenario(cluster).wait(list, within=0)


def test_a_measurement_beyond_its_bound_is_in_the_report_and_fails(cluster):
    report = Report()
    made = scenario(cluster, report)
    made.record("one", 1.0, 2.0)
    with pytest.raises(AssertionError, match=r"two: 3 s, and the bound is 2 s"):
        made.record("two", 3.0, 2.0)
    assert report.rows == [
        Row("one is kept", "one", 1.0, 2.0),
        Row("one is kept", "two", 3.0, 2.0),
    ]


def test_the_report_has_a_row_for_each_measurement_and_the_evidence_of_what_was_broken():
    report = Report("Kubernetes v1.36.2.")
    report.add(Row("a pod leaves", "deleted to out", 0.98765, 5))
    report.add(Row("a pod leaves", "lost | in all", 2, 0, "requests"))
    report.outcomes["a pod leaves"] = (BROKEN, "lost:\n  2 requests")
    report.outcomes["a kubelet"] = (SKIPPED, "no right")
    report.evidence["a pod leaves"] = "--- events\nKilling\n"
    assert report.markdown() == (
        "# End-to-end report\n"
        "\n"
        "Kubernetes v1.36.2.\n"
        "\n"
        "| promise | what | bound | measured | |\n"
        "| --- | --- | ---: | ---: | --- |\n"
        "| **a kubelet** | | | | skipped: no right |\n"
        "| **a pod leaves** | | | | broken: lost: 2 requests |\n"
        "| | deleted to out | 5 s | 0.9877 s |  |\n"
        "| | lost \\| in all | 0 requests | 2 requests | broken |\n"
        "\n"
        "## Evidence: a pod leaves\n"
        "\n"
        "````\n"
        "--- events\n"
        "Killing\n"
        "````\n"
    )


def test_promises_run_at_once_but_for_one_that_is_to_be_alone(cluster, request, monkeypatch):
    monkeypatch.setattr(Scenario, "take_away", lambda _: None)
    running, ended = set(), []

    def together(made):
        running.add(made.name)
        made.wait(lambda: running == {"one", "two"}, within=10)
        ended.append(made.name)

    def alone(_):
        assert sorted(ended) == ["one", "two"]
        pytest.skip("seen")

    chosen = [Promise(name, name, together, 1, alone=False) for name in ("one", "two")]
    chosen.append(Promise("last", "last", alone, 1, alone=True))
    report = Report()
    promises = Promises(cluster, "image", report, chosen)
    with pytest.raises(pytest.skip.Exception, match="seen"):
        promises.await_result(chosen[2], request.node)
    promises.await_result(chosen[0], request.node)
    promises.stop()
    assert report.outcomes == {"one": (KEPT, ""), "two": (KEPT, ""), "last": (SKIPPED, "seen")}


def test_a_broken_promise_is_raised_with_its_evidence_and_stops_no_other(
    cluster, request, monkeypatch
):
    monkeypatch.setattr(Scenario, "take_away", lambda _: None)

    def broken(_):
        pytest.fail("no such luck")

    event = {
        "metadata": {"name": "one-1.0"},
        "involvedObject": {"name": "one-1"},
        "type": "Normal",
        "reason": "Killing",
        "message": "Container server failed liveness probe, will be restarted",
        "count": 2,
        "lastTimestamp": "2026-01-02T03:04:05Z",
    }
    cluster.tell("events", "ADDED", event)
    report = Report()
    promise = Promise("one", "one is kept", broken, 1, alone=False)
    promises = Promises(cluster, "image", report, [promise])
    with pytest.raises(pytest.fail.Exception, match="no such luck"):
        promises.await_result(promise, request.node)
    promises.stop()
    line = (
        "2026-01-02T03:04:05Z Normal Killing one-1: "
        "Container server failed liveness probe, will be restarted (2 times)"
    )
    assert report.evidence == {"one is kept": f"--- events\n{line}"}
