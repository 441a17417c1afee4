"""Health for Prometheus: a collector that reads it at scrape time, a listener that counts."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from itertools import accumulate

import prometheus_client as prom
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector, CollectorRegistry

from sidecar.health.checks import SERVER_READY, Answer, Check, Observation, Rpc
from sidecar.health.state import CheckState, Health, Probe, Status, Transition
from sidecar.health.verdict import Judge, Policy, is_stale

# A loopback answer takes about a millisecond, and the default deadline is 2 s.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

CHECK_LABELS = ("rpc", "model", "version")
MODEL_LABELS = ("model", "version")

Family = GaugeMetricFamily | CounterMetricFamily


class PollCounter(Collector):
    """The listener: counts every poll as it ends, in plain numbers until someone scrapes.

    What belongs to one check is kept by check and shown by the collector, for
    the checks of that moment only: no series outlives its model.
    """

    def __init__(self, registry: CollectorRegistry, wall_clock: Callable[[], float]) -> None:
        self.transitions: Counter[Check] = Counter()
        self.last_success: dict[Check, float] = {}
        self._wall_clock = wall_clock
        # By bucket; the last one is for what is above every bound.
        self._polls = {rpc: [0] * (len(BUCKETS) + 1) for rpc in Rpc}
        self._seconds = dict.fromkeys(Rpc, 0.0)
        self._failures = {
            (rpc, answer): 0
            for rpc in Rpc
            for answer in Answer
            if answer is not Answer.OK
            and (answer is not Answer.MODEL_NOT_FOUND or rpc is Rpc.MODEL_READY)
        }
        registry.register(self)

    def __call__(self, seen: Observation, transitions: tuple[Transition, ...]) -> None:
        """Counts one observation and what it moved."""
        check, took = seen.check, seen.took
        self._polls[check.rpc][bisect_left(BUCKETS, took)] += 1
        self._seconds[check.rpc] += took
        if seen.answer is Answer.OK:
            self.last_success[check] = self._wall_clock()
        else:
            self._failures[check.rpc, seen.answer] += 1
        for transition in transitions:
            moved = transition.before is not transition.after
            if moved and transition.probe is _shown(transition.check):
                self.transitions[transition.check] += 1

    def keep(self, checks: Container[Check]) -> None:
        """Forgets what belongs to any other check."""
        for counted in (self.transitions, self.last_success):
            for check in [check for check in counted if check not in checks]:
                del counted[check]

    def collect(self) -> Iterator[Metric]:
        """What was counted so far."""
        polls = CounterMetricFamily(
            "inference_polls", "Questions asked of the server.", labels=("rpc",)
        )
        failures = CounterMetricFamily(
            "inference_poll_failures",
            "Questions that were not answered with true, by reason.",
            labels=("rpc", "reason"),
        )
        duration = HistogramMetricFamily(
            "inference_poll_duration_seconds",
            "How long a question took, failed ones included.",
            labels=("rpc",),
        )
        for rpc, counts in self._polls.items():
            upto = list(accumulate(counts))
            polls.add_metric((rpc,), upto[-1])
            buckets = zip((*map(str, BUCKETS), "+Inf"), upto, strict=True)
            duration.add_metric((rpc,), list(buckets), self._seconds[rpc])
        for labels, count in self._failures.items():
            failures.add_metric(labels, count)
        yield from (polls, failures, duration)


class HealthCollector(Collector):
    """The collector: one pass over the health at each scrape, so that no gauge can drift.

    health:    gives the health of this moment.
    policy:    gives the policy of this moment.
    judges:    what each endpoint says, by the endpoint's name.
    clock:     monotonic seconds.
    """

    def __init__(
        self,
        health: Callable[[], Health],
        counter: PollCounter,
        policy: Callable[[], Policy],
        judges: Mapping[str, Judge],
        clock: Callable[[], float],
    ) -> None:
        self._health = health
        self._counter = counter
        self._policy = policy
        self._judges = judges
        self._clock = clock

    def describe(self) -> Iterator[Family]:
        """The families without their samples, so that registering asks for no health."""
        yield from self._families()

    def collect(self) -> Iterator[Family]:
        """The families of this moment."""
        live, ready, model, passing, changes, success, time_to_ready = families = self._families()
        health, policy, now = self._health(), self._policy(), self._clock()

        def is_ready(state: CheckState) -> bool:
            return state.status is Status.SERVING and not is_stale(state, now, policy)

        live.add_metric((), health.live.status is Status.SERVING)
        for check, state in health.checks.items():
            labels = (check.model, check.version)
            if check == SERVER_READY:
                ready.add_metric((), is_ready(state))
            elif check.rpc is Rpc.MODEL_READY:
                model.add_metric(labels, is_ready(state))
                first = state.first_serving_at
                took = float("nan") if first is None else first - health.awaited_at
                time_to_ready.add_metric(labels, took)
            changes.add_metric((check.rpc, *labels), self._counter.transitions[check])
            success.add_metric((check.rpc, *labels), self._counter.last_success.get(check, 0))
        for endpoint, judge in self._judges.items():
            passing.add_metric((endpoint,), judge(()).passing)
        yield from families

    @staticmethod
    def _families() -> tuple[Family, ...]:
        return (
            GaugeMetricFamily("inference_server_live", "Whether the server lives (cached)."),
            GaugeMetricFamily(
                "inference_server_ready", "Whether the server says that it is ready (cached)."
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
                "How often the status of a check changed; of ServerLive, its liveness.",
                labels=CHECK_LABELS,
            ),
            GaugeMetricFamily(
                "inference_last_success_timestamp_seconds",
                "When the check was last answered with true, 0 if never.",
                labels=CHECK_LABELS,
            ),
            GaugeMetricFamily(
                "inference_model_time_to_ready_seconds",
                "From the start, or the server's loss, to the model's first readiness, NaN before.",
                labels=MODEL_LABELS,
            ),
        )


class Loading:
    """What is known of the settings and files in force: when they were loaded, what expires."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.successful = True
        self._successful = prom.Gauge(
            "inference_sidecar_config_last_reload_successful",
            "Whether the last loading of the settings was successful.",
            registry=registry,
        )
        self._loaded_at = prom.Gauge(
            "inference_sidecar_config_last_reload_success_timestamp_seconds",
            "When the settings were last loaded successfully.",
            registry=registry,
        )
        self._expiry = prom.Gauge(
            "inference_tls_certificate_expiry_timestamp_seconds",
            "When the first certificate in the file expires.",
            ("file",),
            registry=registry,
        )

    def succeeded(self, at: float, certificates: Mapping[str, float]) -> None:
        """Settings are in force since `at`; each TLS file's expiry. Unix times."""
        self.successful = True
        self._successful.set(1)
        self._loaded_at.set(at)
        self._expiry.clear()
        for file, expires in certificates.items():
            self._expiry.labels(file).set(expires)

    def failed(self) -> None:
        """New settings were refused; those in force are the old ones."""
        self.successful = False
        self._successful.set(0)


def register_process(registry: CollectorRegistry, versions: Mapping[str, str]) -> None:
    """What is known of this process itself, and does not change while it runs."""
    # Otherwise a `_created` gauge would stand beside each counter and histogram.
    prom.disable_created_metrics()  # type: ignore[no-untyped-call]
    prom.Info("inference_sidecar_build", "Versions of the sidecar.", registry=registry).info(
        dict(versions)
    )
    prom.ProcessCollector(registry=registry)
    prom.PlatformCollector(registry=registry)
    prom.GCCollector(registry=registry)


def _shown(check: Check) -> Probe:
    """The probe whose status a gauge shows for this check."""
    return Probe.LIVENESS if check.rpc is Rpc.SERVER_LIVE else Probe.READINESS
