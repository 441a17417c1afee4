"""The metric families of one scrape."""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector, CollectorRegistry

from sidecar.core.checks import MODEL, SERVER_READY, canary
from sidecar.core.reasons import Reason
from sidecar.core.rules import ENDPOINTS
from sidecar.core.snapshot import Snapshot
from sidecar.core.status import Status
from sidecar.outputs.poll_counter import BUCKETS, Counts

CHECK_LABELS = ("rpc", "model", "version")
MODEL_LABELS = ("model", "version")
CANARY_RPC = canary("").rpc

Family = GaugeMetricFamily | CounterMetricFamily


class Scrape(Collector):
    """The content of one scrape, captured at one moment; it may be written later, in a thread.

    counts:    the counts at that moment.
    registry:  the metrics of this process.
    """

    def __init__(self, snapshot: Snapshot, counts: Counts, registry: CollectorRegistry) -> None:
        self._snapshot = snapshot
        self._counts = counts
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        yield from self._polls()
        yield from self._checks()
        yield from self._canaries()
        yield from self._registry.collect()

    def _polls(self) -> Iterator[Metric]:
        polls = CounterMetricFamily("inference_polls", "Calls made to the server.", labels=("rpc",))
        failures = CounterMetricFamily(
            "inference_poll_failures",
            "Calls that failed, by reason.",
            labels=("rpc", "reason"),
        )
        duration = HistogramMetricFamily(
            "inference_poll_duration_seconds",
            "Duration of a call, failed calls included.",
            labels=("rpc",),
        )
        for rpc, counts in self._counts.polls.items():
            upto = list(accumulate(counts))
            polls.add_metric((rpc,), upto[-1])
            buckets = zip((*map(str, BUCKETS), "+Inf"), upto, strict=True)
            duration.add_metric((rpc,), list(buckets), self._counts.seconds[rpc])
        for labels, count in self._counts.failures.items():
            failures.add_metric(labels, count)
        yield from (polls, failures, duration)

    def _checks(self) -> Iterator[Metric]:
        live, ready, model, passing, changes, success, time_to_ready = families = self._families()
        snapshot, counts = self._snapshot, self._counts
        health = snapshot.health
        live.add_metric((), health.live.status is Status.SERVING)
        for check, state in health.checks.items():
            labels = (check.model, check.version)
            if check == SERVER_READY:
                ready.add_metric((), snapshot.is_ready(state))
            elif check.kind == MODEL:
                model.add_metric(labels, snapshot.is_ready(state))
                first = state.first_serving_at
                duration = float("nan") if first is None else first - health.startup_began_at
                time_to_ready.add_metric(labels, duration)
            changes.add_metric((check.rpc, *labels), counts.transitions.get(check, 0))
            success.add_metric((check.rpc, *labels), counts.last_success.get(check, 0))
        for endpoint, rule in ENDPOINTS.items():
            passing.add_metric((endpoint,), rule(snapshot).passing)
        yield from families

    def _canaries(self) -> Iterator[Metric]:
        """Yield the families of canaries, if there are any, and of the restarts they requested."""
        snapshot, health = self._snapshot, self._snapshot.health
        restarts = health.restarts
        yield CounterMetricFamily(
            "inference_restarts_requested",
            "How often /healthz began to fail because of canaries.",
            value=restarts.requested_total,
        )
        yield CounterMetricFamily(
            "inference_restarts_withheld",
            "Restarts that were withheld because of the limit per hour.",
            value=restarts.withheld_total,
        )
        canaries = {check: state for check, state in health.checks.items() if state.canary}
        if not canaries:
            return
        passing, configured, last, pending = (
            GaugeMetricFamily(f"inference_canary_{name}", text, labels=MODEL_LABELS)
            for name, text in (
                ("passing", "Whether the model's canary passes."),
                ("configured", "Whether a request is known that the model accepts."),
                ("last_duration_seconds", "Duration of the last canary, NaN before the first."),
                ("pending_seconds", "How long the canary in flight has been waiting, or 0."),
            )
        )
        for check, state in canaries.items():
            labels, known = (check.model, check.version), state.canary
            serving = state.status is Status.SERVING and not snapshot.is_stale(state)
            passing.add_metric(labels, serving)
            configured.add_metric(labels, known is not None and not known.unconfigured)
            last.add_metric(labels, float("nan") if state.duration is None else state.duration)
            sent_at = health.opened.get(check)
            pending.add_metric(labels, 0 if sent_at is None else snapshot.now - sent_at)
        yield from (passing, configured, last, pending, *self._canary_results())

    def _canary_results(self) -> Iterator[Metric]:
        upto = list(accumulate(self._counts.polls.get(CANARY_RPC, [0] * (len(BUCKETS) + 1))))
        failed = {r: n for (rpc, r), n in self._counts.failures.items() if rpc == CANARY_RPC}
        results = CounterMetricFamily(
            "inference_canary_results", "Results of canaries, by reason.", labels=("reason",)
        )
        for reason in Reason:
            succeeded = upto[-1] - sum(failed.values())
            results.add_metric(
                (reason,), succeeded if reason is Reason.OK else failed.get(reason, 0)
            )
        duration = HistogramMetricFamily(
            "inference_canary_duration_seconds",
            "Duration of canaries of all models; without a reply, until each timeout.",
        )
        buckets = zip((*map(str, BUCKETS), "+Inf"), upto, strict=True)
        duration.add_metric((), list(buckets), self._counts.seconds.get(CANARY_RPC, 0))
        yield from (results, duration)

    @staticmethod
    def _families() -> tuple[Family, ...]:
        return (
            GaugeMetricFamily("inference_server_live", "Whether the server is live (cached)."),
            GaugeMetricFamily(
                "inference_server_ready", "Whether the server reports that it is ready (cached)."
            ),
            GaugeMetricFamily(
                "inference_model_ready", "Whether the model is ready (cached).", labels=MODEL_LABELS
            ),
            GaugeMetricFamily(
                "inference_health_passing",
                "Whether the sidecar's endpoint passes.",
                labels=("probe",),
            ),
            CounterMetricFamily(
                "inference_status_transitions",
                "Changes of a check's status; for ServerLive, of its liveness.",
                labels=CHECK_LABELS,
            ),
            GaugeMetricFamily(
                "inference_last_success_timestamp_seconds",
                "When the check last succeeded, 0 if never.",
                labels=CHECK_LABELS,
            ),
            GaugeMetricFamily(
                "inference_model_time_to_ready_seconds",
                "From the start, or the server's loss, until the model was ready; NaN before.",
                labels=MODEL_LABELS,
            ),
        )
