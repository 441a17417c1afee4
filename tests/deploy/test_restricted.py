"""Each pod in deploy/ meets the Pod Security Standard `restricted`."""

import copy
from typing import Any

import pytest

from tests.deploy.manifests import SAFE, Object, containers, has_pod, pod_of


def test_each_pod_meets_the_restricted_standard(source):
    for item in source.items:
        if has_pod(item):
            # The security of a stock runtime's own container is the runtime's.
            theirs = "kserve-container" if item["kind"] == "InferenceService" else None
            assert violations(pod_of(item), theirs) == []


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
