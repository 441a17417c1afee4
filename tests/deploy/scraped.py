"""How a Prometheus scrapes sidecars with the labels that the PodMonitor gives to pods."""

import re
from pathlib import Path
from typing import Any

import yaml

PROMETHEUS = Path(__file__).parents[2] / "deploy" / "prometheus"


def scrape_config(namespace: str, pods: list[dict[str, str]]) -> dict[str, Any]:
    """What the Prometheus Operator makes of the PodMonitor, applied in a namespace.

    Only the pods are given instead of being discovered, by what discovery tells of them.
    """
    monitor = yaml.safe_load((PROMETHEUS / "podmonitor.yaml").read_text())
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    name, port = monitor["metadata"]["name"], endpoint["port"]
    meta = "__meta_kubernetes_"
    operators = [
        {"action": "drop", "source_labels": [f"{meta}pod_phase"], "regex": "(Failed|Succeeded)"},
        {"action": "keep", "source_labels": [f"{meta}pod_container_port_name"], "regex": port},
        {"source_labels": [f"{meta}namespace"], "target_label": "namespace"},
        {"source_labels": [f"{meta}pod_container_name"], "target_label": "container"},
        {"source_labels": [f"{meta}pod_name"], "target_label": "pod"},
        {"target_label": "job", "replacement": f"{namespace}/{name}"},
        {"target_label": "endpoint", "replacement": port},
    ]
    own = [
        {
            re.sub("[A-Z]", lambda upper: f"_{upper[0].lower()}", key): value
            for key, value in r.items()
        }
        for r in endpoint["relabelings"]
    ]
    return {
        "job_name": f"podMonitor/{namespace}/{name}/0",
        "metrics_path": endpoint["path"],
        "static_configs": [
            {
                "targets": [pod["address"]],
                "labels": {f"{meta}{k}": v for k, v in pod.items() if k != "address"},
            }
            for pod in pods
        ],
        "relabel_configs": operators + own,
    }
