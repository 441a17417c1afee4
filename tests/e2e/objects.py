"""What the suite puts into the cluster, and how the answers of the cluster are read."""

import copy
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.manifests import COMPONENT, with_component
from tests.e2e.kubectl import Object

WORKLOAD = Path(__file__).parent / "workload"
OWN_IMAGE = "inference-health-sidecar"
MARK = "inference-health-sidecar/e2e"  # the label of our namespaces
KINDS = ("Deployment", "StatefulSet", "DaemonSet")
SETTINGS: Object = {"server_url": "localhost:8001", "models": ["m"]}


def namespace(name: str, standard: str = "restricted") -> Object:
    """A namespace that takes only what meets this Pod Security Standard."""
    labels = {MARK: "true", "pod-security.kubernetes.io/enforce": standard}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def config_map(name: str, **data: str) -> Object:
    """A ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def scripts() -> Object:
    """The scripts that all pods mount."""
    files = sorted(WORKLOAD.glob("*.py"))
    return config_map("scripts", **{file.name: file.read_text() for file in files})


def settings(name: str, text: str) -> Object:
    """The settings of the sidecars of this name, as the text of their file."""
    return config_map(f"{name}-settings", **{"sidecar.yaml": text})


@dataclass(frozen=True)
class Shape:
    """How a workload differs from the others.

    arguments:         of its server.
    patience:          seconds after which Kubernetes says that a rollout does not proceed.
    shared_processes:  one container may send another's process a signal. In its own a process
                       has the id 1, and can neither be killed nor stopped from inside.
    sidecar_cpu:       the sidecar's request and limit.
    """

    arguments: tuple[str, ...] = ()
    kind: str = "Deployment"
    replicas: int = 1
    patience: int = 600
    shared_processes: bool = False
    sidecar_cpu: str = ""


def inference(name: str, shape: Shape) -> list[Object]:
    """A workload and its Service of this name."""
    workload, service = copy.deepcopy((_workloads()[shape.kind], _raw("inference.yaml")[1]))
    labels = {"scenario": name}
    workload["metadata"]["name"] = service["metadata"]["name"] = name
    service["spec"]["selector"] = labels
    spec = workload["spec"]
    if shape.kind != "DaemonSet":
        spec["replicas"] = shape.replicas
    if shape.kind == "Deployment":
        spec["progressDeadlineSeconds"] = shape.patience
    if shape.kind == "StatefulSet":
        spec["serviceName"] = name
    spec["selector"]["matchLabels"] = labels
    spec["template"]["metadata"]["labels"] = labels
    pod = spec["template"]["spec"]
    (server,), (sidecar,) = pod["containers"], pod["initContainers"]
    server["args"] = list(shape.arguments)
    # Ready at once where nothing loads; what is shipped asks less often, for slow loads.
    server["startupProbe"] |= {"periodSeconds": 1, "failureThreshold": 600}
    (volume,) = [one for one in pod["volumes"] if one["name"] == "health-settings"]
    volume["configMap"]["name"] = f"{name}-settings"
    if shape.shared_processes:
        pod["shareProcessNamespace"] = True
    if shape.sidecar_cpu:
        for amounts in sidecar["resources"].values():
            amounts["cpu"] = shape.sidecar_cpu
    return [workload, service]


def load(name: str, url: str) -> Object:
    """A pod that sends requests to a URL."""
    (pod,) = copy.deepcopy(_raw("load.yaml"))
    pod["metadata"] |= {"name": name, "labels": {"load": name}}
    pod["spec"]["containers"][0]["args"] = [url]
    return pod


def kubelet_restart(name: str, node: str) -> Object:
    """A pod that restarts a node's kubelet, where systemd runs it. It needs every right."""
    into = ("nsenter", "--target=1", "--mount", "--uts", "--ipc", "--net", "--pid", "--")
    container = {
        "name": "restart",
        "image": f"{OWN_IMAGE}:any",
        "command": [*into, "systemctl", "restart", "kubelet"],
        "securityContext": {"privileged": True, "runAsUser": 0},
    }
    spec = {"nodeName": node, "hostPID": True, "restartPolicy": "Never", "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def with_image(objects: Sequence[Object], image: str) -> list[Object]:
    """The objects with this image in the place of ours, pulled only where it is not there."""
    changed = copy.deepcopy(list(objects))
    for item in changed:
        spec = item.get("spec", {})
        pod = spec.get("template", {}).get("spec", spec)
        for container in [*pod.get("initContainers", []), *pod.get("containers", [])]:
            if container["image"].startswith(f"{OWN_IMAGE}:"):
                container |= {"image": image, "imagePullPolicy": "IfNotPresent"}
    return changed


@cache
def _workloads() -> dict[str, Object]:
    """By kind, the inference server with what the component adds."""
    with tempfile.TemporaryDirectory() as folder:
        built = with_component(COMPONENT, Path(folder), *(_as(kind) for kind in KINDS))
    return {item["kind"]: item for item in built}


def _as(kind: str) -> Object:
    workload = copy.deepcopy(_raw("inference.yaml")[0])
    workload["kind"] = kind
    if kind != "Deployment":
        del workload["spec"]["strategy"]
    if kind == "DaemonSet":
        del workload["spec"]["replicas"]
    return workload


@cache
def _raw(file: str) -> list[Object]:
    return list(yaml.safe_load_all((WORKLOAD / file).read_text()))


def container(pod: Object, name: str) -> Object:
    """The status of a pod's container, a native sidecar's included; empty if there is none yet."""
    status = pod.get("status", {})
    statuses = status.get("initContainerStatuses", []) + status.get("containerStatuses", [])
    found: list[Object] = [one for one in statuses if one["name"] == name]
    return found[0] if found else {}


def state(pod: Object, name: str) -> Object:
    """The state of a pod's container."""
    found: Object = container(pod, name).get("state", {})
    return found


def restarts(pod: Object) -> dict[str, int]:
    """How often each of the two containers was restarted."""
    return {name: container(pod, name).get("restartCount", 0) for name in ("server", "health")}


# None of these ends by itself within the time that a promise has.
HOPELESS = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
}


def troubles(pod: Object) -> list[str]:
    """Why containers of a pod do not run, in the words of the kubelet, where waiting is no use."""
    return [
        f"{pod['metadata']['name']}, container {name}: {waiting['reason']}: "
        f"{waiting.get('message', 'no message')}"
        for name in ("server", "health")
        if (waiting := state(pod, name).get("waiting", {})).get("reason") in HOPELESS
    ]


def condition(item: Object, kind: str) -> Object:
    """A condition of a pod or a Deployment; empty if it has none of this kind."""
    conditions = item.get("status", {}).get("conditions", [])
    found: list[Object] = [one for one in conditions if one["type"] == kind]
    return found[0] if found else {}


def is_ready(pod: Object) -> bool:
    """Whether a pod is ready, and stays."""
    return condition(pod, "Ready").get("status") == "True" and not is_leaving(pod)


def is_leaving(pod: Object) -> bool:
    """Whether a pod has been deleted, and goes on for its grace period."""
    return "deletionTimestamp" in pod["metadata"]


def endpoints(slices: Sequence[Object]) -> dict[str, bool]:
    """By pod, whether the Service sends it requests."""
    return {
        endpoint["targetRef"]["name"]: endpoint["conditions"].get("ready", True)
        for one in slices
        for endpoint in one.get("endpoints") or []
    }


def is_kill(event: Object, pod: str, name: str) -> bool:
    """Whether an event says that the kubelet kills this container because of its livenessProbe.

    It is a normal event, and always comes. Of warnings the kubelet lets only 25 a pod through,
    and then one each five minutes.
    """
    whom = event["involvedObject"]
    return (
        event["reason"] == "Killing"
        and whom["name"] == pod
        and whom.get("fieldPath", "").endswith(f"{{{name}}}")
        and "failed liveness probe" in event["message"]
    )


def last_words(ended: Object) -> dict[str, Any]:
    """What the server said at its end."""
    words: dict[str, Any] = json.loads(ended["message"])
    return words
