"""The table "how long until", in seconds, for the numbers of a pod.

The sidecar's part is explained in docs/timing.md. The kubelet adds the period and the threshold
of its probe. The time that endpoint changes take to propagate is not included.
"""

import math
from typing import NamedTuple

from sidecar.config import Settings
from sidecar.doctor.containers import Probe
from sidecar.doctor.findings import Case
from sidecar.doctor.rules.liveness import READY
from sidecar.doctor.rules.termination import exit_seconds

NEVER = "never"

# Period times threshold of the server's livenessProbe in deploy/pod.yaml.
LIVENESS = 60


class Row(NamedTuple):
    """One row of the table. `with_sidecar` is the value with the sidecar."""

    what: str
    until: str
    with_sidecar: str = ""


class _Sidecar(NamedTuple):
    """The sidecar's settings from which the times are computed, and its readinessProbe."""

    settings: Settings
    readiness: float

    @property
    def gap(self) -> float:
        """Seconds between two probes of a server that does not answer."""
        return max(self.settings.recovery_period, self.settings.timeout_seconds)

    @property
    def early(self) -> float:
        """Seconds until the next call of ServerLive."""
        s = self.settings
        live = s.live_period_seconds
        return live if 0 < live < s.period_seconds else s.period_seconds

    @property
    def frozen(self) -> float:
        """Maximum seconds until /readyz fails for a frozen server."""
        s = self.settings
        return self.early + (s.readiness_failure_threshold - 1) * self.gap + s.timeout_seconds

    @property
    def dead(self) -> float:
        """Maximum seconds until /healthz fails for a frozen server."""
        s = self.settings
        period = s.period_seconds * (1 + s.jitter / 2)
        rounds = period + (s.liveness_failure_threshold - 1) * self.gap + s.timeout_seconds
        if self.early < s.period_seconds:
            rounds += self.early + s.recovery_period + s.timeout_seconds
        return rounds

    @property
    def model(self) -> float:
        """Maximum seconds until /readyz fails for a model that has become unready."""
        s = self.settings
        return s.period_seconds * (1 + s.jitter / 2)

    @property
    def worker(self) -> str:
        """The time until the pod gets no traffic because of a model whose worker is dead."""
        s = self.settings
        required = [model for model in s.models if model.required]
        if s.canary != "auto" and not any(model.canary for model in required):
            return f"{NEVER}: no canary is sent"
        fails = s.canary_failure_threshold
        seconds = s.canary_period_seconds + (fails - 1) * s.recovery_period
        hangs = s.canary_period_seconds + fails * s.canary_timeout_seconds
        return (
            f"{_at_most(seconds + self.readiness)}; {_seconds(hangs + self.readiness)} if it hangs"
        )


def table(case: Case, defaults: Settings) -> list[Row]:
    """Return the times of a pod; `defaults` are the sidecar's settings in deploy/pod.yaml.

    For a pod without the sidecar, the rows have the values with it too.
    """
    ours = _Sidecar(defaults, 2)
    if case.sidecar is None:
        speaks = case.server.server is None or case.server.server.speaks_oip
        return _without(case, ours if speaks else None)
    probe = case.sidecar.probe("readinessProbe") or case.server.probe("readinessProbe")
    if probe is None or probe.asks_sidecar != "/readyz" or case.settings is None:
        return [*_of_the_start(case, None), *_of_the_end(case, None)]
    sidecar = _Sidecar(case.settings, probe.period * probe.failures)
    liveness = case.server.probe("livenessProbe")
    restart = NEVER + ": the livenessProbe does not ask /healthz"
    if liveness and liveness.asks_sidecar == "/healthz":
        restart = _at_most(sidecar.dead + liveness.period * liveness.failures)
    return [
        Row("server killed, until it gets no traffic", _at_most(sidecar.readiness)),
        Row(
            "server frozen, until it gets no traffic", _at_most(sidecar.frozen + sidecar.readiness)
        ),
        Row("model unready, until it gets no traffic", _at_most(sidecar.model + sidecar.readiness)),
        Row("worker dead, until it gets no traffic", sidecar.worker),
        Row("server frozen, until it is restarted", restart),
        *_of_the_start(case, None),
        Row("server busy and silent, until it is killed", _busy(case, sidecar)),
        *_of_the_end(case, None),
    ]


def _busy(case: Case, sidecar: _Sidecar) -> str:
    liveness = case.server.probe("livenessProbe")
    if liveness is None:
        return NEVER
    own = (liveness.failures - 1) * liveness.period
    if liveness.asks_sidecar:
        s = sidecar.settings
        first = s.liveness_failure_threshold * s.timeout_seconds
        return f"not before {_seconds(first + own)}; one that says it is busy: {NEVER}"
    return f"{_seconds(own + liveness.timeout)}"


def _without(case: Case, ours: _Sidecar | None) -> list[Row]:
    readiness, liveness = (case.server.probe(k) for k in ("readinessProbe", "livenessProbe"))
    frozen, model, restart, busy = NEVER, NEVER, NEVER, NEVER
    if readiness and readiness.handler != "tcpSocket":
        slow = readiness.period * readiness.failures
        frozen = _at_most(slow + readiness.timeout)
        model = _at_most(slow) if _sees_models(readiness) else NEVER
    if liveness and liveness.handler != "tcpSocket":
        restart = _at_most(liveness.period * liveness.failures + liveness.timeout)
        busy = _seconds(liveness.period * (liveness.failures - 1) + liveness.timeout)
    killed = "about 1 s, because its container ends"
    with_sidecar = ["", "", "", "", "", ""]
    if ours:
        settings = ours.settings
        with_sidecar = [
            "the same",
            _at_most(ours.frozen + ours.readiness),
            _at_most(ours.model + ours.readiness),
            ours.worker,
            _at_most(ours.dead + LIVENESS),
            _seconds(
                settings.liveness_failure_threshold * settings.timeout_seconds + LIVENESS - 10
            ),
        ]
    rows = [
        ("server killed, until it gets no traffic", killed),
        ("server frozen, until it gets no traffic", frozen),
        ("model unready, until it gets no traffic", model),
        ("worker dead, until it gets no traffic", NEVER),
        ("server frozen, until it is restarted", restart),
        ("server busy and silent, until it is killed", busy),
    ]
    made = [Row(*row, other) for row, other in zip(rows, with_sidecar, strict=True)]
    return [*made[:5], *_of_the_start(case, ours), made[5], *_of_the_end(case, ours)]


def _sees_models(probe: Probe) -> bool:
    asked = probe.http_path if probe.handler == "httpGet" else " ".join(probe.words)
    return bool(READY.search(asked))


def _of_the_start(case: Case, ours: _Sidecar | None) -> list[Row]:
    startup, liveness = (case.server.probe(k) for k in ("startupProbe", "livenessProbe"))
    if startup:
        survives = _seconds(startup.budget)
    elif liveness:
        survives = _seconds(liveness.budget)
    else:
        survives = "any: nothing restarts it"
    return [Row("slowest load that survives", survives, "1800 s" if ours else "")]


def _of_the_end(case: Case, ours: _Sidecar | None) -> list[Row]:
    if case.pod.outer is None:
        return []
    sleep, ends = case.server.pre_stop or 0, exit_seconds(case.server)
    left = _seconds(max(0, case.pod.grace - sleep))
    own = f"the server takes up to {_seconds(ends)}" if ends else "the server drops them at SIGTERM"
    text = f"{left} after {_seconds(sleep)} of preStop; {own}"
    return [
        Row("requests in flight at the end have", text, "10 s of preStop first" if ours else "")
    ]


def _seconds(value: float) -> str:
    return f"{math.ceil(value * 10 - 1e-6) / 10:g} s"


def _at_most(value: float) -> str:
    return f"at most {_seconds(value)}"
