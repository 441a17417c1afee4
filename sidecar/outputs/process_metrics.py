"""The metrics of the sidecar's process: versions, log, configuration and resources."""

import platform
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version

import prometheus_client as prom
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector, CollectorRegistry

from sidecar import __version__
from sidecar.core.repository import Repository
from sidecar.core.target import Server


class Reloads:
    """The metrics of the configuration: its last reload, and the expiry of certificates."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.successful = True
        self._successful = prom.Gauge(
            "inference_sidecar_config_last_reload_successful",
            "Whether the last configuration reload was successful.",
            registry=registry,
        )
        self._loaded_at = prom.Gauge(
            "inference_sidecar_config_last_reload_success_timestamp_seconds",
            "When the configuration was last loaded successfully.",
            registry=registry,
        )
        self._expiry = prom.Gauge(
            "inference_tls_certificate_expiry_timestamp_seconds",
            "The latest expiry in the bundle (ca), the expiry of the first certificate (cert).",
            ("file",),
            registry=registry,
        )

    def succeeded(self, at: float, certificates: Mapping[str, float]) -> None:
        """Record a successful load, and the expiry of each TLS file. Times are Unix times."""
        self.successful = True
        self._successful.set(1)
        self._loaded_at.set(at)
        self._expiry.clear()
        for file, expires in certificates.items():
            self._expiry.labels(file).set(expires)

    def failed(self) -> None:
        """Record a rejected reload."""
        self.successful = False
        self._successful.set(0)


class _LogLines(Collector):
    """The number of dropped log lines."""

    def __init__(self, dropped: Callable[[], int]) -> None:
        self._dropped = dropped

    def collect(self) -> Iterator[Metric]:
        """Yield the current count."""
        name, text = "log_lines_dropped", "Log lines that could not be written to standard error."
        yield CounterMetricFamily(f"inference_sidecar_{name}", text, value=self._dropped())


class _ServerInfo(Collector):
    """The kind and version of the inference server."""

    def __init__(self, server: Callable[[], Server]) -> None:
        self._server = server

    def collect(self) -> Iterator[Metric]:
        """Yield the current server."""
        text = "The inference server, as reported by itself, or unknown."
        yield InfoMetricFamily("inference_server", text, value=self._server()._asdict())


class _RepositoryModels(Collector):
    """The number of models in the server's repository."""

    def __init__(self, repository: Callable[[], Repository]) -> None:
        self._repository = repository

    def collect(self) -> Iterator[Metric]:
        """Yield the numbers from the last index."""
        text = "Versions of models in the server's repository, by state; 0 without discovery."
        family = GaugeMetricFamily("inference_repository_models", text, labels=("state",))
        for state, count in self._repository().states.items():
            family.add_metric((state,), count)
        yield family


class _KubernetesEvents(Collector):
    """The results of writing Kubernetes Events."""

    RESULTS = ("created", "counted", "failed", "dropped")

    def __init__(self, results: Callable[[], Mapping[str, int]]) -> None:
        self._results = results

    def collect(self) -> Iterator[Metric]:
        """Yield the current counts."""
        text = "Kubernetes Events created or counted up, failed attempts, and dropped changes."
        family = CounterMetricFamily("inference_kubernetes_events", text, labels=("result",))
        results = self._results()
        for result in self.RESULTS:
            family.add_metric((result,), results.get(result, 0))
        yield family


def process_registry(
    log_lines_dropped: Callable[[], int],
    watchers: Callable[[], int],
    server: Callable[[], Server],
    repository: Callable[[], Repository],
    events: Callable[[], Mapping[str, int]],
) -> CollectorRegistry:
    """Return a registry with the metrics of this process.

    watchers:    the number of open Watch calls of grpc.health.v1.
    server:      the kind of inference server.
    repository:  the state of its repository.
    events:      the results of writing Kubernetes Events.
    """
    registry = CollectorRegistry()
    # Otherwise there would be a `_created` gauge for each counter and histogram.
    prom.disable_created_metrics()  # type: ignore[no-untyped-call]
    prom.Info("inference_sidecar_build", "Versions of the sidecar.", registry=registry).info(
        {
            "version": __version__,
            "python": platform.python_version(),
            "grpcio": version("grpcio"),
        }
    )
    registry.register(_LogLines(log_lines_dropped))
    registry.register(_ServerInfo(server))
    registry.register(_RepositoryModels(repository))
    registry.register(_KubernetesEvents(events))
    text = "How many clients watch a service of grpc.health.v1."
    watching = prom.Gauge("inference_grpc_health_watchers", text, registry=registry)
    watching.set_function(watchers)
    prom.ProcessCollector(registry=registry)
    prom.PlatformCollector(registry=registry)
    prom.GCCollector(registry=registry)
    return registry
