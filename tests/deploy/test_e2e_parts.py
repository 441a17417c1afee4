"""What the end-to-end suite applies, commands and reads, as far as it goes without a cluster."""

import contextlib
import inspect
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.manifests import containers, pod_of, settings_text
from tests.deploy.test_objects import NATIVE, NEWEST, refusals, violations
from tests.e2e import objects
from tests.e2e.conftest import lacking
from tests.e2e.kubectl import Kubectl, KubectlError, documents
from tests.support import clean_environment, free_port, require_program, sidecar, wait_until

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
    return [pod for pod in map(pod_of, applied) if pod]


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
    (theirs,) = [pod for pod in map(pod_of, shipped) if pod]
    expected = theirs["containers"][0]["livenessProbe"]
    probe = pods(applied)[0]["containers"][0]["livenessProbe"]
    assert {**probe, **expected} == probe
    assert probe.keys() - expected.keys() == {"terminationGracePeriodSeconds"}


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


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A KUBECONFIG whose cluster does not answer."""
    file = tmp_path / "config"
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
    monkeypatch.setenv("KUBECONFIG", str(file))
    return file


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("name", COMMANDS)
def test_kubectl_understands_each_command_and_lacks_nothing_but_the_cluster(name):
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
    spec = next(p for p in map(pod_of, objects.inference("one")) if p)
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
    assert output.splitlines()[-1].strip("= ").startswith("9 skipped in ")


def test_a_cluster_that_does_not_answer_is_no_reason_to_skip(nowhere):
    with suite("-k", "hung", IMAGE="image", KUBECONFIG=str(nowhere)) as popen:
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
