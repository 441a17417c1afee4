"""A namespace of our own in the cluster, which goes in the end; evidence where a test failed."""

import os
import secrets
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e import objects
from tests.e2e.kubectl import Kubectl
from tests.e2e.scenario import Scenario, evidence

NATIVE_SIDECARS = (1, 29)


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
def kubectl():
    """A new namespace by kubectl, which goes in the end, whatever happens.

    Without a cluster the suite is skipped, in CI too: no machine can be given one.
    A cluster that is named and does not answer is a failure.
    """
    if reasons := lacking(os.environ):
        pytest.skip("; ".join(reasons))
    cluster = Kubectl()
    version = cluster.server_version()
    if version < NATIVE_SIDECARS:
        pytest.skip(f"the cluster is Kubernetes {version[0]}.{version[1]}; this needs 1.29")
    name = f"sidecar-e2e-{secrets.token_hex(4)}"
    # To be ended from outside is as good as Ctrl-C: the namespace goes.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        cluster.apply([objects.namespace(name)])
        own = Kubectl(name)
        own.apply(objects.settings_and_scripts())
        yield own
    finally:
        cluster.delete("namespace", name)
        signal.signal(signal.SIGTERM, before)


@pytest.fixture
def scenario(kubectl, image, request):
    """The test's own Deployment; its name is the one that the test's marker says."""
    name = request.node.get_closest_marker("scenario").args[0]
    made = Scenario(kubectl, image, name)
    yield made
    made.take_away()


def pytest_configure(config):
    config.addinivalue_line("markers", "scenario(name): the name of the test's own Deployment")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed and call.when != "teardown" and "kubectl" in item.funcargs:
        report.sections.append(("the cluster", evidence(item.funcargs["kubectl"])))
    return report
