"""What the suite puts into the cluster, and how the answers of the cluster are read."""

import copy
import json
import subprocess
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.kubectl import Object

WORKLOAD = Path(__file__).parent / "workload"
OWN_IMAGE = "inference-health-sidecar"
MARK = "inference-health-sidecar/e2e"  # the label of our namespaces


def namespace(name: str) -> Object:
    """A namespace that takes only what meets the strictest of the Pod Security Standards."""
    labels = {MARK: "true", "pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def built(folder: Path = WORKLOAD) -> list[Object]:
    """The objects that kubectl builds from a kustomization."""
    return list(yaml.safe_load_all(_text(folder)))


@cache
def _text(folder: Path) -> str:
    command = ["kubectl", "kustomize", str(folder)]
    return subprocess.check_output(command, text=True, timeout=60)


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


def settings_and_scripts() -> list[Object]:
    """What all scenarios share."""
    return [item for item in built() if item["kind"] == "ConfigMap"]


def inference(
    name: str,
    *arguments: str,
    replicas: int = 1,
    patience: int = 600,
    shared_processes: bool = False,
) -> list[Object]:
    """A Deployment and its Service of this name.

    arguments:         of its server.
    patience:          seconds after which Kubernetes says that a rollout does not proceed.
    shared_processes:  one container may kill another's process. In its own a process has
                       the id 1, and cannot be killed from inside.
    """
    deployment, service = (_only(kind, "inference") for kind in ("Deployment", "Service"))
    labels = {"scenario": name}
    deployment["metadata"]["name"] = service["metadata"]["name"] = name
    service["spec"]["selector"] = labels
    spec = deployment["spec"]
    spec |= {"replicas": replicas, "progressDeadlineSeconds": patience}
    spec["selector"]["matchLabels"] = labels
    spec["template"]["metadata"]["labels"] = labels
    pod = spec["template"]["spec"]
    pod["containers"][0]["args"] = list(arguments)
    if shared_processes:
        pod["shareProcessNamespace"] = True
    return [deployment, service]


def load(name: str, url: str) -> Object:
    """A pod that sends requests to a URL."""
    pod = _only("Pod", "load")
    pod["metadata"] |= {"name": name, "labels": {"load": name}}
    pod["spec"]["containers"][0]["args"] = [url]
    return pod


def _only(kind: str, name: str) -> Object:
    (item,) = [i for i in built() if (i["kind"], i["metadata"]["name"]) == (kind, name)]
    return item


def container(pod: Object, name: str) -> Object:
    """The status of a pod's container, a native sidecar's included; empty if there is none yet."""
    status = pod.get("status", {})
    statuses = status.get("initContainerStatuses", []) + status.get("containerStatuses", [])
    found: list[Object] = [one for one in statuses if one["name"] == name]
    return found[0] if found else {}


def restarts(pod: Object) -> dict[str, int]:
    """How often each of the two containers was restarted."""
    return {name: container(pod, name).get("restartCount", 0) for name in ("server", "health")}


def terminated(pod: Object, name: str) -> Object:
    """How a container of a pod that is ending has ended; empty before that."""
    ended: Object = container(pod, name).get("state", {}).get("terminated", {})
    return ended


def condition(item: Object, kind: str) -> Object:
    """A condition of a pod or a Deployment; empty if it has none of this kind."""
    conditions = item.get("status", {}).get("conditions", [])
    found: list[Object] = [one for one in conditions if one["type"] == kind]
    return found[0] if found else {}


def is_ready(pod: Object) -> bool:
    """Whether a pod is ready, and stays."""
    leaves = "deletionTimestamp" in pod["metadata"]
    return condition(pod, "Ready").get("status") == "True" and not leaves


def endpoints(slices: Sequence[Object]) -> dict[str, bool]:
    """By pod, whether the Service sends it requests."""
    return {
        endpoint["targetRef"]["name"]: endpoint["conditions"].get("ready", True)
        for one in slices
        for endpoint in one.get("endpoints") or []
    }


def seconds(earlier: str, later: str) -> float:
    """Between two times as the API writes them, which is to the second."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def last_words(ended: Object) -> dict[str, Any]:
    """What the server said at its end."""
    words: dict[str, Any] = json.loads(ended["message"])
    return words
