"""A real Prometheus, and what it answers."""

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.support import free_port, http_get, require_program, wait_until


class Prometheus:
    """Its API."""

    def __init__(self, port: int, pid: int) -> None:
        self._port = port
        self.pid = pid

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


@contextlib.contextmanager
def prometheus(folder: Path, config: dict[str, Any]) -> Iterator[Prometheus]:
    """Starts one with a configuration, whose paths are of this folder, and ends it in the end."""
    port = free_port()
    # JSON is YAML.
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
            running = Prometheus(port, popen.pid)
            wait_until(lambda: running.is_up() or popen.poll() is not None, within=20)
            assert popen.poll() is None, log.read_text()
            yield running
        finally:
            popen.kill()
