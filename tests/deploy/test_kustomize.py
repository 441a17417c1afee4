"""The components put the sidecar into any labelled workload, and leave what is there."""

import re

import pytest

from tests.deploy.manifests import (
    COMPONENT,
    DEPLOY,
    EXAMPLES,
    INJECT,
    OLDER_COMPONENT,
    containers,
    has_pod,
    kustomize,
    only,
    parse,
    pod_of,
    settings_text,
    sidecar_of,
    with_component,
    workload,
)
from tests.docs.pages import doc

BOTH = pytest.mark.parametrize("component", [COMPONENT, OLDER_COMPONENT], ids=lambda c: c.name)
KINDS = pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])


def pod_with(component, folder, kind="Deployment", labels=INJECT, **spec):
    item = workload(kind, **spec)
    item["metadata"]["labels"] = labels
    (item,) = with_component(component, folder, item)
    return pod_of(item)


def names(items):
    return [item["name"] for item in items]


@KINDS
def test_a_native_sidecar_comes_first_where_there_were_no_init_containers(tmp_path, kind):
    pod = pod_with(COMPONENT, tmp_path, kind)
    assert names(pod["initContainers"]) == ["health"]
    assert pod["initContainers"][0]["restartPolicy"] == "Always"
    assert names(pod["containers"]) == ["server"]


@KINDS
def test_a_native_sidecar_comes_before_the_init_containers_that_are_there(tmp_path, kind):
    there = [{"name": "fetch", "image": "fetch"}, {"name": "unpack", "image": "unpack"}]
    pod = pod_with(COMPONENT, tmp_path, kind, initContainers=there)
    assert names(pod["initContainers"]) == ["health", "fetch", "unpack"]
    assert pod["initContainers"][1:] == there


@KINDS
def test_a_plain_sidecar_is_the_last_container(tmp_path, kind):
    there = [{"name": "server", "image": "server"}, {"name": "logs", "image": "logs"}]
    pod = pod_with(OLDER_COMPONENT, tmp_path, kind, containers=there)
    assert names(pod["containers"]) == ["server", "logs", "health"]
    assert "restartPolicy" not in pod["containers"][2]
    assert "initContainers" not in pod


@BOTH
def test_the_first_container_is_asked_about_and_keeps_everything_else(tmp_path, component):
    server = {
        "name": "server",
        "image": "server",
        "env": [{"name": "A", "value": "1"}],
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "9"]}}},
        "livenessProbe": {"grpc": {"port": 9}, "initialDelaySeconds": 300},
        "readinessProbe": {"grpc": {"port": 9}},
        "volumeMounts": [{"name": "models", "mountPath": "/models"}],
    }
    other = {"name": "other", "image": "other", "livenessProbe": {"tcpSocket": {"port": 1}}}
    models = {"name": "models", "emptyDir": {}}
    labels = {**INJECT, "inference-health-sidecar/prestop": "own"}
    pod = pod_with(component, tmp_path, labels=labels, containers=[server, other], volumes=[models])
    changed, untouched = pod["containers"][:2]
    assert untouched == other
    assert {k: v for k, v in changed.items() if k not in ("startupProbe", "livenessProbe")} == {
        k: v for k, v in server.items() if k != "livenessProbe"
    }
    assert changed["startupProbe"]["httpGet"] == {"path": "/startupz", "port": 9808}
    assert changed["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": 9808}
    assert models in pod["volumes"]
    assert names(pod["volumes"]) == ["health-settings", "models"]


@BOTH
@KINDS
def test_a_labelled_workload_is_given_every_part(tmp_path, component, kind):
    pod = pod_with(component, tmp_path, kind)
    assert sidecar_of(pod)["readinessProbe"]
    assert {"startupProbe", "livenessProbe"} <= pod["containers"][0].keys()
    assert names(pod["volumes"]) == ["health-settings"]
    assert pod["enableServiceLinks"] is False


@BOTH
def test_a_workload_without_the_label_stays_as_it_is(tmp_path, component):
    plain = workload()
    del plain["metadata"]["labels"]
    assert with_component(component, tmp_path, plain) == [plain]


def test_both_components_bring_the_same_sidecar_but_for_how_it_ends(tmp_path):
    pods = [
        pod_with(component, tmp_path / component.name)
        for component in (COMPONENT, OLDER_COMPONENT)
        if not (tmp_path / component.name).mkdir()
    ]
    native, plain = (sidecar_of(pod) for pod in pods)
    drains = [
        {e["name"]: e["value"] for e in c["env"]}.pop("SIDECAR_DRAIN_SECONDS")
        for c in (native, plain)
    ]
    assert drains == ["0", "20"]
    for container in (native, plain):
        del container["env"][1]
    assert native.pop("restartPolicy") == "Always"
    assert native == plain
    lifecycles = [pod["containers"][0].pop("lifecycle") for pod in pods]
    assert lifecycles == [
        {"preStop": {"sleep": {"seconds": 10}}},
        {"preStop": {"exec": {"command": ["sleep", "10"]}}},
    ]
    assert pods[0]["containers"][0] == {
        k: v for k, v in pods[1]["containers"][0].items() if k != "lifecycle"
    }
    assert pods[0]["volumes"] == pods[1]["volumes"]


def test_the_demo_in_one_file_is_what_its_kustomization_builds():
    assert parse((DEPLOY / "demo.yaml").read_text()) == kustomize(EXAMPLES / "demo")


@BOTH
def test_a_lifecycle_that_is_there_is_not_replaced_unasked(tmp_path, component):
    server = {"name": "server", "image": "server", "lifecycle": {"postStart": {"exec": {}}}}
    told = re.search(r"testing value \S+ failed: test failed", doc("install"))
    assert told
    with pytest.raises(AssertionError, match=told[0]):
        pod_with(component, tmp_path, containers=[server])


@pytest.mark.parametrize("name", ["triton", "mlserver"])
def test_the_sidecar_asks_the_port_that_the_server_declares(name):
    items = kustomize(EXAMPLES / name)
    pod = pod_of(only(items, "Deployment"))
    ports = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
    assert f"server_url: localhost:{ports['grpc']}\n" in settings_text(items, pod)


def test_triton_loads_the_models_that_the_sidecar_asks_about():
    items = kustomize(EXAMPLES / "triton")
    pod = pod_of(only(items, "Deployment"))
    loaded = [
        argument.partition("=")[2]
        for argument in pod["containers"][0]["args"]
        if argument.startswith("--load-model=")
    ]
    (settings,) = parse(settings_text(items, pod))
    assert [m if isinstance(m, str) else m["name"] for m in settings["models"]] == loaded


def test_the_examples_for_kserve_have_the_sidecars_of_the_components(tmp_path):
    def shape(pod, *without):
        container = sidecar_of(pod)
        return {k: v for k, v in container.items() if k not in without}

    for component in (COMPONENT, OLDER_COMPONENT):
        (tmp_path / component.name).mkdir()
    native = pod_with(COMPONENT, tmp_path / COMPONENT.name)
    plain = pod_with(OLDER_COMPONENT, tmp_path / OLDER_COMPONENT.name)
    service = pod_of(only(kustomize(EXAMPLES / "kserve-inferenceservice"), "InferenceService"))
    runtime = pod_of(only(kustomize(EXAMPLES / "kserve-servingruntime"), "ServingRuntime"))
    assert shape(service) == shape(native)
    # A ServingRuntime serves many: its settings are variables, one of them by the pod's label.
    assert shape(runtime, "env") == shape(plain, "env", "volumeMounts")
    for pod, like in ((service, native), (runtime, plain)):
        server, asked = pod["containers"][0], like["containers"][0]
        assert server["name"] == "kserve-container"
        assert {k: server[k] for k in ("startupProbe", "livenessProbe")} == {
            k: asked[k] for k in ("startupProbe", "livenessProbe")
        }


def test_the_examples_of_servers_that_are_silent_while_they_compute_wait_long_enough():
    """Above three times the longest inference, and a period above that: docs/servers.md, KServe."""
    shown = re.search(r"; (\d+) and (\d+) for inferences of up to (\d+) s", doc("servers"))
    assert shown
    timeout, period, longest = map(int, shown.groups())
    assert 3 * longest < timeout < period
    items = kustomize(EXAMPLES / "kserve-inferenceservice")
    (settings,) = parse(settings_text(items, pod_of(only(items, "InferenceService"))))
    assert (settings["timeout_seconds"], settings["period_seconds"]) == (timeout, period)
    runtime = pod_of(only(kustomize(EXAMPLES / "kserve-servingruntime"), "ServingRuntime"))
    given = {variable["name"]: variable.get("value") for variable in sidecar_of(runtime)["env"]}
    assert given["SIDECAR_TIMEOUT_SECONDS"] == str(timeout)
    assert given["SIDECAR_PERIOD_SECONDS"] == str(period)
    mlserver = (EXAMPLES / "mlserver" / "sidecar.yaml").read_text()
    assert f"up to {longest} seconds" in mlserver
    assert f"timeout_seconds: {timeout} and period_seconds: {period} " in mlserver


def test_no_two_containers_of_a_pod_share_a_name_or_a_port():
    for example in sorted(EXAMPLES.iterdir()):
        for pod in map(pod_of, filter(has_pod, kustomize(example))):
            everyone = names(containers(pod))
            assert len(everyone) == len(set(everyone))
            ports = [p["containerPort"] for c in containers(pod) for p in c.get("ports", [])]
            assert len(ports) == len(set(ports))
