"""Every object in deploy/, pasted or built, is one that a cluster takes, `restricted` ones included.

KServe's own schemas are not here: that of InferenceService has a megabyte, most of it the
pod's, and the small one that KServe installs as well takes anything. Instead the pod is put
together as KServe does it and held to Kubernetes' schema, and the fields around it to a list.
"""

import copy
from dataclasses import dataclass
from typing import Any

import kubernetes_validate
import pytest
from aiohttp import web
from kubernetes_validate.utils import all_versions, major_minor
from prometheus_client import CollectorRegistry

from sidecar.health.verdict import ENDPOINTS
from sidecar.settings import Settings
from sidecar.web import build_app
from tests.deploy.manifests import (
    COMPONENT,
    DEPLOY,
    EXAMPLES,
    MODEL_FIELDS,
    OLDER_COMPONENT,
    PREDICTOR_FIELDS,
    RUNTIME_FIELDS,
    Object,
    charts,
    containers,
    kustomize,
    objects,
    only,
    parse,
    pod_of,
    rendered,
    settings_text,
    sidecar_of,
    with_component,
    workload,
)
from tests.support import sidecar, untyped

KNOWN = [major_minor(version) for version in all_versions()]
OLDEST, NATIVE, NEWEST = KNOWN[0], "1.29", KNOWN[-1]
OURS = ("v1", "apps/v1")


@dataclass(frozen=True)
class Source:
    """Objects that are used together, and the oldest Kubernetes that they are for."""

    items: list[Object]
    since: str = NATIVE

    @property
    def pods(self) -> list[Object]:
        """The pods in them that have the sidecar."""
        return [pod for pod in map(pod_of, self.items) if pod is not None and sidecar_of(pod)]


FILES = sorted(DEPLOY.glob("*.yaml"))
BUILT = sorted(path.parent for path in EXAMPLES.glob("*/kustomization.yaml"))
NAMES = [
    *(path.name for path in FILES),
    *(f"examples/{path.name}" for path in BUILT),
    COMPONENT.name,
    OLDER_COMPONENT.name,
    "chart",
    "chart, plain",
]
# The generated ConfigMap is the user's own where only a component is built.
CONFIG: Object = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "inference-health-sidecar"},
    "data": {"sidecar.yaml": "server_url: localhost:8001\n"},
}
SAFE: Object = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "server",
            "image": "server",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
        }
    ],
}


@pytest.fixture(scope="session", params=NAMES)
def source(request, tmp_path_factory) -> Source:
    """Each file, each kustomization, both components and the chart."""
    found = find(request.param, tmp_path_factory.mktemp("source"))
    assert found.pods or request.param == "wait.yaml"
    return found


def find(name, folder):
    if name.endswith(".yaml"):
        return Source(parse((DEPLOY / name).read_text()))
    if name.startswith("examples/"):
        items = kustomize(EXAMPLES / name.partition("/")[2])
        plain = any(item["kind"] == "ServingRuntime" for item in items)
        return Source(items, OLDEST if plain else NATIVE)
    if name == "chart":
        return Source(objects(rendered(charts(folder) / "demo")))
    if name == "chart, plain":
        return Source(objects(rendered(including_chart(folder))), OLDEST)
    older = name == OLDER_COMPONENT.name
    component = OLDER_COMPONENT if older else COMPONENT
    items = with_component(component, folder, workload(**SAFE))
    return Source([*items, CONFIG], OLDEST if older else NATIVE)


def including_chart(folder):
    """A chart of somebody else's that includes the plain container."""
    chart = charts(folder) / "demo"
    template = chart / "templates" / "deployment.yaml"
    text = template.read_text()
    start = text.index("      initContainers:\n")
    end = text.index("      containers:\n")
    container = text[start:end].partition("\n")[2]
    text = text[:start] + text[end:].replace("      volumes:\n", container + "      volumes:\n")
    template.write_text(text)
    values = chart / "values.yaml"
    values.write_text(values.read_text().replace("sidecar:\n", "sidecar:\n  native: false\n"))
    return chart


def versions(source):
    return sorted({source.since, NEWEST}, key=KNOWN.index)


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


def test_the_oldest_and_the_newest_kubernetes_take_every_object(source):
    for version in versions(source):
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
    assert PREDICTOR_FIELDS <= set(service["spec"]["predictor"])
    assert MODEL_FIELDS <= set(service["spec"]["predictor"]["model"])
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
    assert "restartPolicy" in refusals(native, "1.27")


def test_each_pod_meets_the_restricted_standard(source):
    for item in source.items:
        pod = pod_of(item)
        if pod is not None:
            # The security of a stock runtime's own container is the runtime's.
            theirs = "kserve-container" if item["kind"] == "InferenceService" else None
            assert list(violations(pod, theirs)) == []


def violations(pod: Object, theirs: str | None = None) -> list[str]:
    """What the Pod Security Standard `restricted` has against a pod."""
    outer = pod.get("securityContext", {})
    found = [f"pod: {name}" for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)]
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"}
    allowed |= {"persistentVolumeClaim", "projected", "secret"}
    for volume in pod.get("volumes", []):
        found += [f"volume: {kind}" for kind in set(volume) - {"name"} - allowed]
    for container in containers(pod):
        own = container.get("securityContext", {})
        effective = {**outer, **own}
        rules = {
            "runAsNonRoot": effective.get("runAsNonRoot") is True,
            "runAsUser": effective.get("runAsUser") != 0,
            "seccompProfile": effective.get("seccompProfile", {}).get("type")
            in ("RuntimeDefault", "Localhost"),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "privileged": not own.get("privileged"),
            "drop": "ALL" in own.get("capabilities", {}).get("drop", []),
            "add": set(own.get("capabilities", {}).get("add", [])) <= {"NET_BIND_SERVICE"},
            "hostPort": not any("hostPort" in port for port in container.get("ports", [])),
            "host": not any(_hosts(container)),
        }
        if container["name"] != theirs:
            found += [f"{container['name']}: {rule}" for rule, kept in rules.items() if not kept]
    return found


def _hosts(container: Object) -> list[Any]:
    handlers = [value for key, value in container.items() if key.endswith("Probe")]
    handlers += container.get("lifecycle", {}).values()
    return [
        handler[kind]["host"]
        for handler in handlers
        for kind in ("httpGet", "tcpSocket")
        if "host" in handler.get(kind, {})
    ]


LOOSE = [
    ("pod: hostNetwork", ("hostNetwork",), True),
    ("volume: hostPath", ("volumes",), [{"name": "v", "hostPath": {"path": "/"}}]),
    ("server: runAsNonRoot", ("securityContext", "runAsNonRoot"), False),
    ("server: runAsUser", ("securityContext", "runAsUser"), 0),
    ("server: seccompProfile", ("securityContext", "seccompProfile"), {"type": "Unconfined"}),
    ("server: allowPrivilegeEscalation", ("containers", 0, "securityContext"), {}),
    ("server: add", ("containers", 0, "securityContext", "capabilities", "add"), ["SYS_ADMIN"]),
    ("server: hostPort", ("containers", 0, "ports"), [{"hostPort": 1}]),
    ("server: host", ("containers", 0, "livenessProbe"), {"httpGet": {"host": "elsewhere"}}),
]


@pytest.mark.parametrize(("rule", "path", "value"), LOOSE, ids=[rule for rule, *_ in LOOSE])
def test_a_pod_that_breaks_a_rule_of_restricted_is_found(rule, path, value):
    pod: Any = copy.deepcopy(SAFE)
    assert violations(pod) == []
    place = pod
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    assert rule in violations(pod)


def served_paths():
    """The paths that the sidecar answers."""
    judges: Any = dict.fromkeys(ENDPOINTS)
    app: web.Application = build_app(judges, untyped(None), CollectorRegistry())
    return {route.resource.canonical for route in app.router.routes() if route.resource}


def test_each_sidecar_has_the_ports_paths_and_variables_that_there_are(source):
    port = Settings.model_fields["http_port"].default
    known = {f"SIDECAR_{name.upper()}" for name in Settings.model_fields} | {"SIDECAR_CONFIG"}
    for pod in source.pods:
        container = sidecar_of(pod)
        assert container is not None
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
        assert container is not None
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
