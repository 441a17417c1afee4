"""Every object in deploy/, pasted or built, is one that a cluster takes and the sidecar can do.

KServe's own schemas are not here: that of InferenceService has a megabyte, most of it the
pod's, and the small one that KServe installs as well takes anything. Instead the pod is put
together as KServe does it and held to Kubernetes' schema, and the fields around it to a list.
"""

import copy
from typing import Any

import kubernetes_validate
from aiohttp import web
from kubernetes_validate.utils import all_versions, major_minor
from prometheus_client import CollectorRegistry

from sidecar.config import Settings
from sidecar.core.rules import ENDPOINTS
from sidecar.outputs.http.app import build_app
from tests.deploy.manifests import (
    COMPONENT,
    EXAMPLES,
    MODEL_FIELDS,
    PREDICTOR_FIELDS,
    RUNTIME_FIELDS,
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
from tests.support import sidecar, untyped

KNOWN = list(dict.fromkeys(major_minor(version) for version in all_versions()))
OLDEST, NEWEST = KNOWN[0], KNOWN[-1]
OURS = ("v1", "apps/v1", "policy/v1")


def refusals(item, version):
    """What Kubernetes' schema of this version says against an object, strictly."""
    try:
        kubernetes_validate.validate(item, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(str(part) for part in error.path)}: {error.message}"
    return ""


def as_pod(pod):
    """A pod of KServe's, whole; its runtime has the image."""
    whole = copy.deepcopy(pod)
    for container in whole["containers"]:
        container.setdefault("image", "of-the-runtime")
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": whole}


def test_every_kubernetes_takes_every_object(source):
    for version in KNOWN[KNOWN.index(source.since or OLDEST) :]:
        for item in source.items:
            if item["apiVersion"] in OURS:
                assert refusals(item, version) == ""
            else:
                assert item["apiVersion"].startswith("serving.kserve.io/v1")
                assert refusals(as_pod(pod_of(item)), version) == ""


def test_what_stands_around_a_pod_of_kserve_are_fields_that_kserve_has():
    service = only(kustomize(EXAMPLES / "kserve-inferenceservice"), "InferenceService")
    assert service["apiVersion"] == "serving.kserve.io/v1beta1"
    assert set(service["spec"]) == {"predictor"}
    assert set(service["spec"]["predictor"]) >= PREDICTOR_FIELDS
    assert set(service["spec"]["predictor"]["model"]) >= MODEL_FIELDS
    items = kustomize(EXAMPLES / "kserve-servingruntime")
    runtime = only(items, "ServingRuntime")
    assert runtime["apiVersion"] == "serving.kserve.io/v1alpha1"
    assert set(runtime["spec"]) == RUNTIME_FIELDS
    model = only(items, "InferenceService")["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["protocolVersion"] in runtime["spec"]["protocolVersions"]
    formats = [form["name"] for form in runtime["spec"]["supportedModelFormats"]]
    assert model["modelFormat"]["name"] in formats


def test_a_kubernetes_that_knows_no_native_sidecar_refuses_it(tmp_path):
    (native,) = with_component(COMPONENT, tmp_path, workload())
    del pod_of(native)["containers"][0]["lifecycle"]
    assert "restartPolicy" in refusals(native, "1.27")


def test_no_pod_is_given_the_variables_of_other_services(source):
    # Those of a Service named sidecar-http would look like settings.
    pods = [item for item in source.items if has_pod(item)]
    # A ServingRuntime has no such field; the pods are those of its InferenceService.
    for item in pods:
        if item["kind"] != "ServingRuntime":
            assert pod_of(item)["enableServiceLinks"] is False


def served_paths():
    """The paths that the sidecar answers."""
    judges: Any = dict.fromkeys(ENDPOINTS)
    app: web.Application = build_app(judges, untyped(None), CollectorRegistry)
    return {route.resource.canonical for route in app.router.routes() if route.resource}


def test_each_sidecar_has_the_ports_paths_and_variables_that_there_are(source):
    port = Settings.model_fields["http_port"].default
    known = {f"SIDECAR_{name.upper()}" for name in Settings.model_fields} | {"SIDECAR_CONFIG"}
    for pod in source.pods:
        container = sidecar_of(pod)
        assert container["ports"] == [{"name": "health", "containerPort": port}]
        assert {variable["name"] for variable in container["env"]} <= known
        # An image starts `sidecar`, whose command is `run` where there is no other.
        assert {"command", "args"}.isdisjoint(container)
        server = pod["containers"][0]
        probes = {
            (whose, kind): (probe["httpGet"]["path"], probe["httpGet"]["port"])
            for whose, one in (("sidecar", container), ("server", server))
            for kind, probe in one.items()
            if kind.endswith("Probe")
        }
        assert probes == {
            ("sidecar", "startupProbe"): ("/livez", "health"),
            ("sidecar", "livenessProbe"): ("/livez", "health"),
            ("sidecar", "readinessProbe"): ("/readyz", "health"),
            ("server", "startupProbe"): ("/startupz", port),
            ("server", "livenessProbe"): ("/healthz", port),
        }
        assert {path for path, _ in probes.values()} <= served_paths()
        assert container["readinessProbe"]["failureThreshold"] == 1


def test_the_sidecar_takes_the_settings_of_each_pod(source, tmp_path):
    for pod in source.pods:
        container = sidecar_of(pod)
        # A label of the pod stands for itself.
        environment = {e["name"]: e.get("value", "from-a-label") for e in container["env"]}
        native = container.get("restartPolicy") == "Always"
        if "SIDECAR_CONFIG" in environment:
            (mount,) = container["volumeMounts"]
            assert environment["SIDECAR_CONFIG"] == f"{mount['mountPath']}/sidecar.yaml"
            assert "subPath" not in mount
            file = tmp_path / "sidecar.yaml"
            file.write_text(settings_text(source.items, pod))
            environment["SIDECAR_CONFIG"] = str(file)
        done = sidecar("config", **environment)
        assert (done.returncode, done.stderr) == (0, "")
        (settings,) = parse(done.stdout)
        assert (settings["drain_seconds"] == 0) == native
        assert settings["http_port"] == 9808
