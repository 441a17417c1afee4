"""What the end-to-end suite applies, commands and reads, as far as it goes without a cluster."""

import inspect
import json
from pathlib import Path

import pytest

from tests.deploy.conftest import NATIVE
from tests.deploy.manifests import containers, pod_of, settings_text
from tests.deploy.test_objects import NEWEST, refusals
from tests.deploy.test_restricted import violations
from tests.e2e import objects
from tests.e2e.kubectl import Kubectl, KubectlError, documents
from tests.support import free_port, require_program, sidecar, wait_until

ROOT = Path(__file__).parents[2]
IMAGE = "registry:5000/of/mine@sha256:0"


@pytest.fixture(autouse=True)
def _kubectl():
    require_program("kubectl")


@pytest.fixture
def applied():
    """Each object of the suite, as it is applied."""
    return objects.with_image(
        [
            objects.namespace("sidecar-e2e-0"),
            *objects.settings_and_scripts(),
            *objects.inference("plain"),
            *objects.inference("gated", "--unready", patience=20),
            *objects.inference("killed", replicas=2, shared_processes=True),
            objects.load("load", "10.0.0.1:8001"),
        ],
        IMAGE,
    )


def pods(applied):
    return [pod_of(item) for item in applied if item["kind"] in ("Deployment", "Pod")]


@pytest.mark.parametrize("version", [NATIVE, NEWEST])
def test_kubernetes_takes_each_object_that_the_suite_applies(applied, version):
    assert len(applied) == 10
    assert [refusals(item, version) for item in applied] == [""] * len(applied)


def test_each_pod_of_the_suite_is_let_into_its_namespace(applied):
    label = "pod-security.kubernetes.io/enforce"
    assert applied[0]["metadata"]["labels"][label] == "restricted"
    assert [violations(pod) for pod in pods(applied)] == [[]] * 4


def test_nothing_is_pulled_but_the_image_that_was_named(applied):
    found = {
        (container["image"], container["imagePullPolicy"])
        for pod in pods(applied)
        for container in containers(pod)
    }
    assert found == {(IMAGE, "IfNotPresent")}


def test_each_script_and_folder_is_where_the_pods_look_for_it(applied):
    (scripts,) = [item for item in applied if item["metadata"]["name"] == "scripts"]
    for pod in pods(applied):
        container = pod["containers"][0]
        script = Path(container["command"][1])
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert mounts[str(script.parent)] == "scripts"
        file = objects.WORKLOAD / script.name
        assert scripts["data"][script.name] == file.read_text()
        assert ("/orders" in mounts) == (script.name == "server.py")


def test_a_service_selects_the_pods_of_its_scenario_alone(applied):
    services = {i["metadata"]["name"]: i for i in applied if i["kind"] == "Service"}
    deployments = {i["metadata"]["name"]: i for i in applied if i["kind"] == "Deployment"}
    assert services.keys() == deployments.keys() == {"plain", "gated", "killed"}
    for name, deployment in deployments.items():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert services[name]["spec"]["selector"] == labels == {"scenario": name}


def test_the_sidecar_takes_the_settings_of_the_suite(applied, tmp_path):
    file = tmp_path / "sidecar.yaml"
    file.write_text(settings_text(applied, pods(applied)[0]))
    done = sidecar("config", SIDECAR_CONFIG=str(file))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_liveness_probe_has_the_patience_that_is_shipped(applied):
    shipped = objects.built(ROOT / "deploy/kustomize/examples/demo")
    (theirs,) = pods(shipped)
    expected = theirs["containers"][0]["livenessProbe"]
    probe = pods(applied)[0]["containers"][0]["livenessProbe"]
    assert probe == expected


COMMANDS = {
    "server_version": lambda kubectl: kubectl.server_version(),
    "apply": lambda kubectl: kubectl.apply([objects.namespace("one")]),
    "found": lambda kubectl: kubectl.found("pods", "scenario=one"),
    "get": lambda kubectl: kubectl.get("deployment", "one"),
    "watch": lambda kubectl: first(kubectl.watch("endpointslices", "scenario=one")),
    "python": lambda kubectl: kubectl.python("pod", "server", "print()"),
    "logs": lambda kubectl: kubectl.logs("pod", "server", previous=True),
    "delete": lambda kubectl: kubectl.delete("namespace", "one"),
    "restart": lambda kubectl: kubectl.restart("one"),
    "rolled_out": lambda kubectl: kubectl.rolled_out("one", within=1),
    "table": lambda kubectl: kubectl.table("events", "--sort-by=.lastTimestamp"),
}


def first(watch):
    with watch:
        return wait_until(watch.heard)


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


def test_the_documents_of_a_watch_come_one_by_one_however_they_are_written():
    events = [{"type": "ADDED", "object": {"a": {"b": "}\n{"}}}, {"type": "DELETED", "object": {}}]
    indented = [json.dumps(event, indent=4) + "\n" for event in events]
    lines = "".join(indented).splitlines(keepends=True)
    assert list(documents(lines)) == events
    assert list(documents([json.dumps(events[0]) + json.dumps(events[1])])) == events
    assert list(documents(lines[:-1])) == events[:1]


def status(name, restarts=0, **state):
    return {
        "name": name,
        "image": "image",
        "imageID": "",
        "ready": True,
        "restartCount": restarts,
        "state": state,
    }


@pytest.fixture
def pod():
    """A pod as the API server has it."""
    began, ended = "2026-01-02T03:04:05Z", "2026-01-02T03:06:07Z"
    last = {"exitCode": 0, "startedAt": began, "finishedAt": ended, "message": '{"told_at": 1.5}'}
    (spec,) = pods(objects.inference("one"))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one-1", "labels": {"scenario": "one"}},
        "spec": spec,
        "status": {
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": ended}],
            "initContainerStatuses": [status("health", 2, running={"startedAt": began})],
            "containerStatuses": [status("server", 1, terminated=last)],
        },
    }


def test_a_pod_is_read_as_the_api_writes_it(pod):
    assert refusals(pod, NATIVE) == refusals(pod, NEWEST) == ""
    assert objects.restarts(pod) == {"server": 1, "health": 2}
    assert objects.container(pod, "health")["state"]["running"]["startedAt"].endswith("05Z")
    assert objects.terminated(pod, "health") == {}
    ended = objects.terminated(pod, "server")
    assert objects.seconds(ended["startedAt"], ended["finishedAt"]) == 122
    assert objects.last_words(ended) == {"told_at": 1.5}
    assert objects.is_ready(pod)
    pod["metadata"]["deletionTimestamp"] = "2026-01-02T03:06:07Z"
    assert not objects.is_ready(pod)


def test_a_pod_of_which_nothing_is_known_yet_is_not_ready_and_was_not_restarted(pod):
    del pod["status"]
    assert not objects.is_ready(pod)
    assert objects.restarts(pod) == {"server": 0, "health": 0}
    assert objects.terminated(pod, "server") == {}


def test_endpoints_are_read_as_the_api_writes_them():
    def endpoint(name, **conditions):
        reference = {"kind": "Pod", "name": name}
        return {"addresses": ["10.0.0.1"], "conditions": conditions, "targetRef": reference}

    one = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "one-x"},
        "addressType": "IPv4",
        "endpoints": [
            endpoint("a", ready=True, serving=True, terminating=False),
            endpoint("b", ready=False, serving=True, terminating=True),
        ],
    }
    assert refusals(one, NATIVE) == refusals(one, NEWEST) == ""
    # Where nobody is selected the list is null.
    assert objects.endpoints([one, {**one, "endpoints": None}]) == {"a": True, "b": False}
