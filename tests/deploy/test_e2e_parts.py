"""What the end-to-end suite applies and commands is right, as far as no cluster is needed."""

import inspect
import json
from pathlib import Path

import pytest
import yaml

from tests.deploy.manifests import EXAMPLES, containers, kustomize, pod_of
from tests.deploy.test_objects import NEWEST, refusals
from tests.deploy.test_restricted import violations
from tests.e2e import objects
from tests.e2e.conftest import settings_that_there_are
from tests.e2e.kubectl import Kubectl, KubectlError
from tests.e2e.scenario import effective
from tests.e2e.test_canary import SETTINGS as CANARY
from tests.support import free_port, require_program, wait_until

IMAGE = "registry:5000/of/mine@sha256:0"
OLDEST = "1.30"
WITH_PODS = (*objects.KINDS, "Pod")


@pytest.fixture(autouse=True)
def _kubectl():
    require_program("kubectl")


@pytest.fixture
def applied():
    """Each kind of object that is applied in the suite's namespace."""
    shapes = {kind: objects.Shape(("--unready",), kind=kind, replicas=2) for kind in objects.KINDS}
    shapes["changed"] = objects.Shape(patience=20, shared_processes=True, sidecar_cpu="20m")
    made = [objects.inference(name.lower(), shape) for name, shape in shapes.items()]
    return objects.with_image(
        [
            objects.namespace("sidecar-e2e-0"),
            objects.scripts(),
            objects.settings("one", yaml.safe_dump(objects.SETTINGS)),
            *(item for pair in made for item in pair),
            objects.load("load", "10.0.0.1:8001"),
        ],
        IMAGE,
    )


def pods(applied):
    return [pod_of(item) for item in applied if item["kind"] in WITH_PODS]


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_kubernetes_takes_each_object_that_the_suite_applies(applied, version):
    privileged = objects.kubelet_restart("kubelet", "node")
    assert [refusals(item, version) for item in [*applied, privileged]] == [""] * 13


def test_each_pod_of_the_suite_is_let_into_its_namespace(applied):
    label = "pod-security.kubernetes.io/enforce"
    assert applied[0]["metadata"]["labels"][label] == "restricted"
    assert [violations(pod) for pod in pods(applied)] == [[]] * 5


def test_nothing_is_pulled_but_the_image_that_was_named(applied):
    found = {
        (container["image"], container["imagePullPolicy"])
        for pod in pods(applied)
        for container in containers(pod)
    }
    assert found == {(IMAGE, "IfNotPresent")}


def test_each_script_is_where_the_pods_look_for_it(applied):
    (scripts,) = [item for item in applied if item["metadata"]["name"] == "scripts"]
    for pod in pods(applied):
        container = pod["containers"][0]
        script = Path(container["command"][1])
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert mounts[str(script.parent)] == "scripts"
        assert scripts["data"][script.name] == (objects.WORKLOAD / script.name).read_text()


def test_a_service_selects_the_pods_of_its_scenario_alone(applied):
    services = {i["metadata"]["name"]: i for i in applied if i["kind"] == "Service"}
    workloads = {i["metadata"]["name"]: i for i in applied if i["kind"] in objects.KINDS}
    assert services.keys() == workloads.keys()
    assert sorted(workloads) == ["changed", "daemonset", "deployment", "statefulset"]
    for name, workload in workloads.items():
        labels = workload["spec"]["template"]["metadata"]["labels"]
        assert services[name]["spec"]["selector"] == labels == {"scenario": name}


def test_the_pods_are_those_that_the_component_makes_but_for_the_startup_probe(applied):
    (theirs,) = [pod_of(i) for i in kustomize(EXAMPLES / "demo") if i["kind"] == "Deployment"]
    expected = [probes_and_exit(container) for container in containers(theirs)]
    for item in applied:
        if item["kind"] in objects.KINDS:
            assert [probes_and_exit(one) for one in containers(pod_of(item))] == expected


def probes_and_exit(container):
    kept = ("livenessProbe", "readinessProbe", "lifecycle")
    found = {key: container[key] for key in kept if key in container}
    return {**found, "startup": container["startupProbe"]["httpGet"]}


def test_the_sidecar_takes_the_settings_of_the_suite():
    assert effective(yaml.safe_dump(objects.SETTINGS))["server_url"] == "localhost:8001"
    if "canary" in settings_that_there_are():
        assert effective(yaml.safe_dump({**objects.SETTINGS, **CANARY}))["models"]


COMMANDS = {
    "server_version": lambda kubectl: kubectl.server_version(),
    "apply": lambda kubectl: kubectl.apply([objects.namespace("one")]),
    "stored": lambda kubectl: kubectl.stored(objects.namespace("one")),
    "found": lambda kubectl: kubectl.found("pods", "scenario=one"),
    "get": lambda kubectl: kubectl.get("deployment", "one"),
    "watch": lambda kubectl: ended(kubectl.watch("endpointslices", print)),
    "python": lambda kubectl: kubectl.python("pod", "server", "print()"),
    "logs": lambda kubectl: kubectl.logs("pod", "server", previous=True, tail=1),
    "annotate": lambda kubectl: kubectl.annotate("pod", "one=1"),
    "delete": lambda kubectl: kubectl.delete("namespace", "one"),
    "restart": lambda kubectl: kubectl.restart("one"),
    "rolled_out": lambda kubectl: kubectl.rolled_out("one", within=1),
}


def ended(watch):
    with watch:
        wait_until(watch.check)


def nowhere(folder):
    """A KUBECONFIG whose cluster does not answer."""
    file = folder / "config"
    cluster = {"server": f"http://127.0.0.1:{free_port()}"}
    context = {"cluster": "nowhere", "user": "nobody"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "nowhere", "cluster": cluster}],
        "contexts": [{"name": "nowhere", "context": context}],
        "users": [{"name": "nobody", "user": {}}],
        "current-context": "nowhere",
    }
    file.write_text(json.dumps(config))
    return str(file)


@pytest.mark.parametrize("name", COMMANDS)
def test_kubectl_understands_each_command_and_lacks_nothing_but_the_cluster(
    name, tmp_path, monkeypatch
):
    monkeypatch.setenv("KUBECONFIG", nowhere(tmp_path))
    with pytest.raises(KubectlError, match=r"^kubectl .*refused"):
        COMMANDS[name](Kubectl("one"))


def test_no_command_is_left_out():
    public = {name for name, _ in inspect.getmembers(Kubectl, inspect.isfunction)}
    assert {name for name in public if not name.startswith("_")} == COMMANDS.keys()
