"""What stands in deploy/ and what is built from it, as Kubernetes' objects."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import yaml

from tests.support import require_program

DEPLOY = Path(__file__).parents[2] / "deploy"
KUSTOMIZE = DEPLOY / "kustomize"
EXAMPLES = KUSTOMIZE / "examples"
COMPONENT = KUSTOMIZE / "component"
EVENTS_COMPONENT = KUSTOMIZE / "component-events"
OLDER_COMPONENT = KUSTOMIZE / "component-before-1.29"
CHARTS = DEPLOY / "helm"

WITH_A_POD = {"Pod", "Deployment", "StatefulSet", "DaemonSet", "ServingRuntime", "InferenceService"}

INJECT = {"inference-health-sidecar/inject": "true"}

Object = dict[str, Any]


def parse(text: str) -> list[Object]:
    """The objects in a text of YAML documents."""
    return [document for document in yaml.safe_load_all(text) if document]


def kustomize(folder: Path) -> list[Object]:
    """The objects that kubectl builds from a kustomization."""
    program = require_program("kubectl")
    done = subprocess.run(
        [program, "kustomize", folder], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return parse(done.stdout)


def with_component(component: Path, folder: Path, *workloads: Object) -> list[Object]:
    """What a component makes of workloads, in an empty folder."""
    return with_components([component], folder, *workloads)


def with_components(components: list[Path], folder: Path, *workloads: Object) -> list[Object]:
    """What several components make of workloads, one after the other, in an empty folder."""
    for component in components:
        # kustomize takes a component from elsewhere, but only by a relative path.
        shutil.copytree(component, folder / component.name)
    (folder / "workloads.yaml").write_text(yaml.safe_dump_all(workloads))
    names = [component.name for component in components]
    kustomization = {"resources": ["workloads.yaml"], "components": names}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return kustomize(folder)


def charts(folder: Path) -> Path:
    """A copy of the charts in which the demo's dependency was fetched."""
    copy = folder / "helm"
    shutil.copytree(CHARTS, copy)
    helm_python.dependency_build(copy / "demo")
    return copy


def rendered(chart: Path, values: Object | None = None, *, name: str = "demo") -> dict[str, str]:
    """A chart's rendered texts by the names of their files."""
    with helm_python.Chart.load(chart) as loaded:
        return {
            path.rpartition("/")[2]: text
            for path, text in loaded.render(values, name=name, namespace="default").items()
        }


def objects(texts: dict[str, str]) -> list[Object]:
    """The objects in a chart's rendered texts."""
    return [
        item
        for name, text in sorted(texts.items())
        if name.endswith(".yaml")
        for item in parse(text)
    ]


# What the server of a pod must say of itself in a namespace that is `restricted`.
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


def workload(kind: str = "Deployment", **spec: Any) -> Object:
    """A labelled workload whose pod has one server, and besides what is given."""
    pod: Object = {"containers": [{"name": "server", "image": "server"}], **spec}
    labels = {"app": "server"}
    body: Object = {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    if kind == "StatefulSet":
        body["serviceName"] = "server"
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "server", "labels": INJECT},
        "spec": body,
    }


def has_pod(item: Object) -> bool:
    """Whether an object holds a pod's spec."""
    return item["kind"] in WITH_A_POD


def pod_of(item: Object) -> Object:
    """The pod's spec in an object. KServe's are put together as KServe does."""
    spec: Object = item["spec"]
    if item["kind"] == "Pod":
        return spec
    if item["kind"] == "ServingRuntime":
        return {"containers": spec["containers"]}
    if item["kind"] == "InferenceService":
        predictor: Object = spec["predictor"]
        server = {k: v for k, v in predictor["model"].items() if k not in MODEL_FIELDS}
        return {
            "containers": [{"name": "kserve-container", **server}],
            **{k: v for k, v in predictor.items() if k not in PREDICTOR_FIELDS},
        }
    pod: Object = spec["template"]["spec"]
    return pod


# The fields that are KServe's own; beside them are those of a pod and of a container.
PREDICTOR_FIELDS = {"model", "minReplicas", "deploymentStrategy"}
MODEL_FIELDS = {"modelFormat", "runtime", "protocolVersion", "storageUri"}
RUNTIME_FIELDS = {"supportedModelFormats", "protocolVersions", "containers"}


def containers(pod: Object) -> Iterator[Object]:
    """All containers of a pod."""
    yield from pod.get("initContainers", [])
    yield from pod["containers"]


def has_sidecar(pod: Object) -> bool:
    """Whether the sidecar is among them."""
    return any(container["name"] == "health" for container in containers(pod))


def sidecar_of(pod: Object) -> Object:
    """The sidecar among them."""
    (found,) = [container for container in containers(pod) if container["name"] == "health"]
    return found


def only(items: list[Object], kind: str) -> Object:
    """The one object of a kind."""
    (item,) = [item for item in items if item["kind"] == kind]
    return item


def settings_text(items: list[Object], pod: Object) -> str:
    """The settings file that a pod's sidecar finds in its volume."""
    (volume,) = [v for v in pod["volumes"] if v["name"] == "health-settings"]
    name = volume["configMap"]["name"]
    (config,) = [
        item for item in items if item["kind"] == "ConfigMap" and item["metadata"]["name"] == name
    ]
    text: str = config["data"]["sidecar.yaml"]
    return text
