"""A namespace of the suite's own, deleted at the end; the promises in it; the report."""

import json
import os
import re
import secrets
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e import objects
from tests.e2e.cluster import Cluster
from tests.e2e.kubectl import Kubectl, KubectlError
from tests.e2e.promise import Promises
from tests.e2e.report import Report
from tests.support import sidecar

REPORT = Path("e2e-report.md")
OLDEST = (1, 30)  # preStop can sleep
MINUTES = 8
REPORTED = pytest.StashKey[Report]()


def settings_that_there_are() -> set[str]:
    """The names of the sidecar's settings."""
    return set(json.loads(sidecar("config", "--schema").stdout)["properties"])


# The canary is not built yet; its promise is collected as soon as it has a setting.
collect_ignore = [] if "canary" in settings_that_there_are() else ["test_canary.py"]


def lacking(environment: Mapping[str, str]) -> list[str]:
    """What the suite cannot do without, and is not there."""
    found = []
    if shutil.which("kubectl", path=environment.get("PATH")) is None:
        found.append("kubectl is not on PATH")
    config = [part for part in environment.get("KUBECONFIG", "").split(os.pathsep) if part]
    if not config:
        found.append("KUBECONFIG is not set, so there is no cluster")
    elif not any(Path(part).is_file() for part in config):
        found.append(f"KUBECONFIG is {os.pathsep.join(config)}, where there is no file")
    if not environment.get("IMAGE"):
        found.append("IMAGE is not set; it names the sidecar's image as the cluster finds it")
    return found


@pytest.fixture(scope="session")
def image() -> str:
    """The image's name."""
    return os.environ["IMAGE"]


@pytest.fixture(scope="session")
def cluster():
    """A new namespace, watched, and deleted at the end, whatever happens.

    Without a cluster the suite is skipped, in CI too: no machine can be given one.
    A cluster that is named and does not answer is a failure.
    """
    if reasons := lacking(os.environ):
        pytest.skip("; ".join(reasons))
    whole = Kubectl()
    version = whole.server_version()
    if numbers(version) < OLDEST:
        pytest.skip(f"the cluster is Kubernetes {version}; this needs {OLDEST[0]}.{OLDEST[1]}")
    name = f"sidecar-e2e-{secrets.token_hex(4)}"
    # To be ended from outside is as good as Ctrl-C: the namespace is deleted.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        whole.apply([objects.namespace(name)])
        own = Kubectl(name)
        own.apply([objects.scripts()])
        with Cluster(own).watching() as cluster:
            yield cluster
    finally:
        whole.delete("namespace", name)
        signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def promises(request, cluster, image):
    """The promises that were chosen, begun together; their report is written at the end."""
    began = time.monotonic()
    chosen = [getattr(item.function, "promise", None) for item in request.session.items]
    report = Report()
    running = Promises(cluster, image, report, [one for one in chosen if one])
    try:
        yield running
    finally:
        running.stop()
        cluster.stop()
        took = (time.monotonic() - began) / 60
        request.config.stash[REPORTED] = report
        report.about = (
            f"{described(cluster.kubectl)}; image {image}; "
            f"{took:.1f} minutes, of {MINUTES} at most on two cores."
        )
        REPORT.write_text(report.markdown())


def numbers(version: str) -> tuple[int, int]:
    """The numbers in the version of a cluster: v1.36.2 or v1.34+."""
    major, minor = re.findall(r"\d+", version)[:2]
    return int(major), int(minor)


def described(kubectl: Kubectl) -> str:
    """The cluster in one line, as far as one may see its nodes."""
    try:
        version = kubectl.server_version()
        nodes = [node["status"]["nodeInfo"] for node in kubectl.found("nodes")]
    except KubectlError as error:
        return f"a cluster of which is known: {error}"
    kinds = {f"{one['containerRuntimeVersion']}, {one['architecture']}" for one in nodes}
    return f"Kubernetes {version}; {len(nodes)} node(s) with {' or '.join(sorted(kinds))}"


def pytest_terminal_summary(terminalreporter, config):
    if report := config.stash.get(REPORTED, None):
        terminalreporter.write_line(report.markdown(evidence=False))
