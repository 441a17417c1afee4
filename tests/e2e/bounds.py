"""How long each reaction may take, computed from a pod's probes and its sidecar's settings."""

from dataclasses import dataclass
from typing import Self

from tests.e2e.kubectl import Object

# What no formula has: the API server, the EndpointSlice, kubectl exec, two busy cores.
SLACK = 3.0
# From a container's end until another runs in its place.
REPLACE = 3.0
# From a container's creation until it answers, on two busy cores.
START = 30.0
# The kubelet looks at a ConfigMap once a minute, half a minute later at worst.
CONFIG_MAP = 90.0


@dataclass(frozen=True)
class Probe:
    """The numbers of one probe, with Kubernetes' defaults."""

    period: float
    timeout: float
    threshold: int
    grace: float  # until the container is killed

    @classmethod
    def of(cls, container: Object, kind: str, grace: float) -> Self:
        """A container's probe; `grace` is its pod's."""
        probe = container[kind]
        return cls(
            period=probe.get("periodSeconds", 10),
            timeout=probe.get("timeoutSeconds", 1),
            threshold=probe.get("failureThreshold", 3),
            grace=probe.get("terminationGracePeriodSeconds", grace),
        )

    @property
    def refused(self) -> float:
        """Until the threshold is reached when each probe is answered at once."""
        return self.period * self.threshold

    @property
    def unanswered(self) -> float:
        """The same when no probe is answered: the last one has to time out."""
        return self.period * self.threshold + self.timeout

    @property
    def tolerated(self) -> float:
        """A failure shorter than this never reaches the threshold."""
        return self.period * (self.threshold - 1)


@dataclass(frozen=True)
class Bounds:
    """The bounds of one pod, in seconds."""

    settings: Object
    readiness: Probe
    startup: Probe
    sidecar_liveness: Probe
    server_liveness: Probe
    pre_stop: float

    @classmethod
    def of(cls, pod: Object, settings: Object) -> Self:
        """Of a pod's spec, and all settings that are in effect."""
        grace = pod.get("terminationGracePeriodSeconds", 30)
        (sidecar,) = [one for one in pod["initContainers"] if one["name"] == "health"]
        server = pod["containers"][0]
        sleep = server.get("lifecycle", {}).get("preStop", {}).get("sleep", {})
        return cls(
            settings=settings,
            readiness=Probe.of(sidecar, "readinessProbe", grace),
            startup=Probe.of(server, "startupProbe", grace),
            sidecar_liveness=Probe.of(sidecar, "livenessProbe", grace),
            server_liveness=Probe.of(server, "livenessProbe", grace),
            pre_stop=sleep.get("seconds", 0),
        )

    @property
    def unready_out(self) -> float:
        """From a model's unreadiness until its pod has left its Service."""
        return self._round("period_seconds") + self.readiness.refused + SLACK

    @property
    def ready_back(self) -> float:
        """From a model's readiness until its pod is back in its Service."""
        rounds: int = self.settings["readiness_success_threshold"]
        return rounds * self._round("recovery_period_seconds") + self.readiness.period + SLACK

    @property
    def first_in(self) -> float:
        """The same in a container that has not been ready yet."""
        return self.startup.period + self.ready_back

    @property
    def crashed_out(self) -> float:
        """From the end of a server until its pod has left: a lost connection is seen at once."""
        return self.readiness.refused + SLACK

    @property
    def hung_out(self) -> float:
        """From a server's last answer until its pod has left its Service."""
        period = "live_period_seconds" if self._asks_between else "period_seconds"
        return self._silence("readiness", period) + self.readiness.refused + SLACK

    @property
    def dead(self) -> float:
        """From a server's last answer until /healthz fails."""
        by_rounds = self._silence("liveness", "period_seconds")
        one = self.settings
        next_failure: float = one["recovery_period_seconds"] + one["timeout_seconds"]
        return max(by_rounds, self.not_dead_before + next_failure) + SLACK

    @property
    def not_dead_before(self) -> float:
        """From a server's last answer until its silence may count for liveness.

        0 where ServerLive is not asked between the rounds.
        """
        if not self._asks_between:
            return 0
        one = self.settings
        each: float = max(one["recovery_period_seconds"], one["timeout_seconds"])
        periods = one["period_seconds"] + one["live_period_seconds"]
        first: float = periods * (1 + one["jitter"] / 2) + one["timeout_seconds"]
        failures: int = one["liveness_failure_threshold"]
        return first + (failures - 1) * each

    @property
    def hung_restarted(self) -> float:
        """From a server's last answer until another container is in its place."""
        probe = self.server_liveness
        return self.dead + probe.refused + probe.grace + REPLACE

    @property
    def frozen_out(self) -> float:
        """From the stop of the sidecar's process until its pod has left its Service."""
        return self.readiness.unanswered + SLACK

    @property
    def frozen_restarted(self) -> float:
        """From the stop of the sidecar's process until another container is in its place."""
        probe = self.sidecar_liveness
        return probe.unanswered + probe.grace + REPLACE + SLACK

    def _round(self, period: str) -> float:
        """The longest time until the next round begins."""
        return float(self.settings[period] * (1 + self.settings["jitter"]))

    @property
    def _asks_between(self) -> bool:
        """Whether ServerLive is asked between the rounds."""
        return bool(0 < self.settings["live_period_seconds"] < self.settings["period_seconds"])

    def _silence(self, what: str, period: str) -> float:
        """From the last answer until the silence counts: a period, then one timeout each."""
        each: float = max(self.settings["timeout_seconds"], self._round("recovery_period_seconds"))
        failures: int = self.settings[f"{what}_failure_threshold"]
        return self._round(period) + each * failures
