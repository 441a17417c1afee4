"""A real Prometheus that scrapes sidecars with the labels that the PodMonitor gives to pods."""

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from tests.support import free_port, http_get, require_program, wait_until

PROMETHEUS = Path(__file__).parents[2] / "deploy" / "prometheus"


class Prometheus:
    """Its API."""

    def __init__(self, port: int) -> None:
        self._port = port

    def get(self, path: str, **query: str | list[str]) -> Any:
        """The `data` of one answer."""
        response = http_get(self._port, f"/api/v1/{path}?{urlencode(query, doseq=True)}")
        assert response.status == 200, (query, response.text)
        return response.json()["data"]

    def series(self, expr: str) -> list[dict[str, str]]:
        """The labels of each series that an expression gives now."""
        return [series["metric"] for series in self.get("query", query=expr)["result"]]

    def is_up(self) -> bool:
        """Whether it answers yet."""
        try:
            return http_get(self._port, "/-/ready").status == 200
        except ConnectionRefusedError:
            return False


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


@contextlib.contextmanager
def prometheus(folder: Path, scrape: dict[str, Any], rules: dict[str, Any]) -> Iterator[Prometheus]:
    """Starts one with a scrape configuration and rules, twice a second, and ends it in the end."""
    port = free_port()
    config = {
        "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [scrape],
    }
    # JSON is YAML.
    (folder / "rules.yaml").write_text(json.dumps(rules))
    (folder / "prometheus.yaml").write_text(json.dumps(config))
    command = [
        require_program("prometheus"),
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    log = folder / "prometheus.log"
    with log.open("wb") as stream, subprocess.Popen(command, stderr=stream) as popen:
        try:
            running = Prometheus(port)
            wait_until(lambda: running.is_up() or popen.poll() is not None, within=20)
            assert popen.poll() is None, log.read_text()
            yield running
        finally:
            popen.kill()
