"""The handler that a server's probe should have: of the sidecar if there is one."""

from sidecar.doctor.containers import SIDECAR_PORT
from sidecar.doctor.findings import Case

OF_SIDECAR = {"livenessProbe": "/healthz", "readinessProbe": "/readyz", "startupProbe": "/startupz"}
UNKNOWN_PORT = 8000


def question(case: Case, kind: str) -> dict[str, object]:
    """Return the httpGet for a probe of this kind."""
    if case.sidecar:
        port = case.settings.http_port if case.settings else SIDECAR_PORT
        return {"path": OF_SIDECAR[kind], "port": port}
    known = case.server.server
    if known is None:
        return {"path": "/v2/health/ready", "port": UNKNOWN_PORT}
    path = known.live_path if kind == "livenessProbe" else known.ready_path
    return {"path": path, "port": case.server.port_of(known.http) or UNKNOWN_PORT}
