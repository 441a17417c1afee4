"""The demo: its settings, and the text with what to try.

server.py    the server
scenario.py  the script of the server
__main__.py  `python -m sidecar.demo PORT`: only the server, for a separate container
"""

from collections.abc import Mapping
from typing import Any

from sidecar.demo.scenario import (
    BROKEN,
    BROKEN_SECONDS,
    DOWN_SECONDS,
    FLAKY,
    LOAD_SECONDS,
    LOADING,
    MODELS,
    STEADY,
    UP_SECONDS,
)
from sidecar.oip import SERVICE

# The settings that the demo determines; its server's port is known once the server listens.
OWN: Mapping[str, Any] = {
    "server_url": "127.0.0.1",
    "grpc_service": SERVICE,
    "models": MODELS,
    "canary": "auto",
    "canary_period_seconds": 2,
    "canary_timeout_seconds": 2,
    "canary_success_threshold": 1,
    **dict.fromkeys(("tls_ca_file", "tls_cert_file", "tls_key_file", "tls_server_name")),
}


def announcement(port: int, drain_seconds: float) -> str:
    """Return the text with what to try."""
    return f"""\
A demo inference server is running, and the sidecar probes its four models:
  {STEADY:<14} is ready at once
  {LOADING:<14} is ready after {LOAD_SECONDS} seconds
  {FLAKY:<14} works for {UP_SECONDS} seconds, fails for {DOWN_SECONDS}, and so on
  {BROKEN:<14} is always ready, but at times no inference works for {BROKEN_SECONDS} seconds

In a browser, look at:
  http://localhost:{port}/
      The verdict, why, and every check, kept up to date.

In another terminal, try:
  curl -i 'localhost:{port}/readyz'
      May traffic be sent? 503 until all four are ready.
  curl 'localhost:{port}/readyz?verbose'
      The same, check by check.
  curl 'localhost:{port}/readyz?exclude=model:{FLAKY}'
      The same without the one that fails.
  curl 'localhost:{port}/readyz/model:{FLAKY}'
      That one alone.
  curl 'localhost:{port}/readyz/model:{BROKEN}'
  curl 'localhost:{port}/readyz/canary:{BROKEN}'
      What this model reports, and what an inference shows.
  curl 'localhost:{port}/healthz'
      Is the server alive? A failing model does not matter.
  curl 'localhost:{port}/metrics'
      What Prometheus sees.
  curl 'localhost:{port}/status'
      Everything, as JSON.

Each change of a status is logged below. Ctrl-C ends the demo: after {drain_seconds:g} s of
drain, as in production, or at once when it is pressed again.
"""
