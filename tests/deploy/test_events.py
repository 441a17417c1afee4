"""Kubernetes Events: who may write them, with what, and that only the sidecar gets the token."""

import copy

import kubernetes_validate
import pytest

from sidecar.outputs.kubernetes.api import DIRECTORY
from tests.deploy.manifests import (
    COMPONENT,
    EVENTS_COMPONENT,
    INJECT,
    charts,
    objects,
    only,
    pod_of,
    rendered,
    sidecar_of,
    with_components,
    workload,
)

OWN = "inference-health-sidecar"
ON = {OWN: {"kubernetesEvents": {"enabled": True}}}
RULES = [{"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]}]


def built(folder, *, labels=INJECT, **spec):
    item = workload(**spec)
    item["metadata"]["labels"] = labels
    return with_components([COMPONENT, EVENTS_COMPONENT], folder, item)


@pytest.fixture(params=["component", "chart"])
def items(request, tmp_path):
    """What is built with Events, and what without."""
    if request.param == "component":
        (tmp_path / "on").mkdir()
        (tmp_path / "off").mkdir()
        off = with_components([COMPONENT], tmp_path / "off", workload())
        return built(tmp_path / "on"), off
    chart = charts(tmp_path) / "demo"
    return objects(rendered(chart, ON)), objects(rendered(chart))


def test_off_by_default_nothing_is_there(items):
    _, off = items
    assert not any("Role" in item["kind"] or item["kind"] == "ServiceAccount" for item in off)
    pod = pod_of(only(off, "Deployment"))
    assert [volume["name"] for volume in pod["volumes"]] == ["health-settings"]
    assert not any("KUBERNETES" in e["name"] for e in sidecar_of(pod)["env"])


def test_the_role_allows_to_create_and_patch_events_and_nothing_else(items):
    on, _ = items
    role, binding = only(on, "Role"), only(on, "RoleBinding")
    assert role["rules"] == RULES
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    pod = pod_of(only(on, "Deployment"))
    (subject,) = binding["subjects"]
    assert subject["name"] == pod.get("serviceAccountName", "default")
    assert subject["kind"] == "ServiceAccount"


def test_the_sidecar_alone_gets_token_authority_and_namespace(items):
    on, _ = items
    pod = pod_of(only(on, "Deployment"))
    assert pod["automountServiceAccountToken"] is False
    sidecar = sidecar_of(pod)
    (mount,) = [m for m in sidecar["volumeMounts"] if m["name"] == "health-api-access"]
    assert mount["mountPath"] == str(DIRECTORY)
    assert mount["readOnly"] is True
    for other in (*pod["initContainers"], *pod["containers"]):
        if other is not sidecar:
            assert not any(m["name"] == mount["name"] for m in other.get("volumeMounts", []))
    (volume,) = [v for v in pod["volumes"] if v["name"] == "health-api-access"]
    paths = set()
    for source in volume["projected"]["sources"]:
        (kind, content), *_ = source.items()
        if kind == "serviceAccountToken":
            paths.add(content["path"])
        else:
            paths |= {item["path"] for item in content["items"]}
    assert paths == {"token", "ca.crt", "namespace"}


def test_the_pod_is_named_by_the_downward_api(items):
    on, _ = items
    environment = {e["name"]: e for e in sidecar_of(pod_of(only(on, "Deployment")))["env"]}
    assert environment["SIDECAR_KUBERNETES_EVENTS"]["value"] == "true"
    fields = {
        name: environment[name]["valueFrom"]["fieldRef"]["fieldPath"]
        for name in ("SIDECAR_POD_NAME", "SIDECAR_POD_UID")
    }
    assert fields == {"SIDECAR_POD_NAME": "metadata.name", "SIDECAR_POD_UID": "metadata.uid"}


def test_kubernetes_takes_every_object(items):
    for item in copy.deepcopy(items[0]):
        kubernetes_validate.validate(item, "1.36", strict=True)


def test_a_service_account_that_is_there_is_not_replaced_unasked(tmp_path):
    own = {**INJECT, "inference-health-sidecar/serviceaccount": "own"}
    for folder in ("replaced", "kept"):
        (tmp_path / folder).mkdir()
    with pytest.raises(
        AssertionError, match="testing value /spec/template/spec/serviceAccountName"
    ):
        built(tmp_path / "replaced", serviceAccountName="mine")
    kept = pod_of(
        only(built(tmp_path / "kept", labels=own, serviceAccountName="mine"), "Deployment")
    )
    assert kept["serviceAccountName"] == "mine"
    assert "automountServiceAccountToken" not in kept
