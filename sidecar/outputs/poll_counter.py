"""Counts polls, failures and transitions for the metrics."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from typing import NamedTuple

from sidecar.core.checks import CANARY, SERVER_LIVE, SERVER_READY, Check, model_ready
from sidecar.core.reasons import Reason
from sidecar.core.status import Probe
from sidecar.store import Cause, Change

# A loopback answer takes about a millisecond, and the default deadline is 2 s.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Counts(NamedTuple):
    """The counts at one moment.

    polls:         polls by duration: one number per bucket, the last one for durations
                   above every bound.
    seconds:       the sum of their durations.
    failures:      polls with another result than true.
    transitions:   changes of status.
    last_success:  Unix time of the last result true.
    """

    polls: Mapping[str, list[int]]
    seconds: Mapping[str, float]
    failures: Mapping[tuple[str, Reason], int]
    transitions: Mapping[Check, int]
    last_success: Mapping[Check, float]


class PollCounter:
    """An observer that counts every poll when it ends.

    Counts of single checks are removed together with the check.
    """

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._transitions: Counter[Check] = Counter()
        self._last_success: dict[Check, float] = {}
        self._wall_clock = wall_clock
        self._polls: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        self._failures: dict[tuple[str, Reason], int] = {}
        for check in (SERVER_LIVE, SERVER_READY, model_ready("any")):
            self._add(check)

    def __call__(self, change: Change) -> None:
        """Count one observation and its transitions."""
        observation = change.observation
        if observation is None:
            self._keep(change)
            return
        check, duration = observation.check, observation.duration
        if check.rpc not in self._polls:
            self._add(check)
        self._polls[check.rpc][bisect_left(BUCKETS, duration)] += 1
        self._seconds[check.rpc] += duration
        if observation.reason is Reason.OK:
            self._last_success[check] = self._wall_clock()
        else:
            self._failures[check.rpc, observation.reason] += 1
        for transition in change.transitions:
            moved = transition.before is not transition.after
            if moved and transition.probe is _shown(transition.check):
                self._transitions[transition.check] += 1

    def counts(self) -> Counts:
        """Return the counts, as values that do not change any more."""
        return Counts(
            {rpc: counts.copy() for rpc, counts in self._polls.items()},
            self._seconds.copy(),
            self._failures.copy(),
            self._transitions.copy(),
            self._last_success.copy(),
        )

    def _add(self, check: Check) -> None:
        """Start the counts of the check's call at 0, so that each series exists at once."""
        self._polls[check.rpc] = [0] * (len(BUCKETS) + 1)
        self._seconds[check.rpc] = 0.0
        for reason in Reason:
            if _can_fail_for(check, reason):
                self._failures[check.rpc, reason] = 0

    def _keep(self, change: Change) -> None:
        """Forget removed checks, and the last success of another server."""
        if change.cause is Cause.OTHER_SERVER:
            self._last_success.clear()
        for counted in (self._transitions, self._last_success):
            for check in [check for check in counted if check not in change.health.checks]:
                del counted[check]


def _can_fail_for(check: Check, reason: Reason) -> bool:
    if reason in (Reason.INVALID_REQUEST, Reason.WRONG_OUTPUT):
        return check.kind == CANARY
    return reason is not Reason.OK and (bool(check.model) or reason is not Reason.MODEL_NOT_FOUND)


def _shown(check: Check) -> Probe:
    """Return the probe whose status the gauge of this check shows."""
    return Probe.LIVENESS if check == SERVER_LIVE else Probe.READINESS
