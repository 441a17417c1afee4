"""The state machine: everything that can move a status is in this file.

What each reason does to a status is in the table of reasons.py.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from sidecar.core.checks import SERVER_LIVE, Check, Observation
from sidecar.core.reasons import CALM, REASONS, Effect, Reason, Thresholds


class Status(StrEnum):
    """What is believed of a check. Unknown is never good enough."""

    UNKNOWN = "UNKNOWN"
    SERVING = "SERVING"
    NOT_SERVING = "NOT_SERVING"


class Probe(StrEnum):
    """What a status is used for, as Kubernetes calls it."""

    LIVENESS = "liveness"
    READINESS = "readiness"


class CheckState(NamedTuple):
    """What is known of one check for one probe. Times are monotonic seconds.

    `reason` is that of the status: `ok` while serving, the latest failure
    while not serving, None before any result has moved it. `reasons` are
    all that there were since it was not serving. `first_serving_at`: for
    readiness, of the server that runs now. `failed_at`: when a failure was
    last counted; `succeeded_at`: the last success.
    """

    since: float
    status: Status = Status.UNKNOWN
    reason: Reason | None = None
    last_reason: Reason | None = None
    observed_at: float | None = None
    duration: float | None = None
    first_serving_at: float | None = None
    failures: int = 0
    failed_at: float | None = None
    successes: int = 0
    succeeded_at: float | None = None
    reasons: frozenset[Reason] = frozenset()


def step(
    state: CheckState, observation: Observation, probe: Probe, thresholds: Thresholds
) -> CheckState:
    """The state after one more observation."""
    row = REASONS[observation.reason]
    effect = row.readiness if probe is Probe.READINESS else row.liveness
    if effect is Effect.NONE:
        return state._replace(
            reason=state.reason or observation.reason,
            last_reason=observation.reason,
            observed_at=observation.at,
            duration=observation.duration,
        )
    failing = effect is not Effect.SUCCESS
    succeeded_at = state.succeeded_at if failing else observation.at
    failures, failed_at, successes = 0, None, state.successes + 1
    early = succeeded_at is not None and observation.at - succeeded_at < thresholds.min_duration
    if failing:
        failures, failed_at = _count(state, observation, thresholds, early=early)
        successes = 0

    status = state.status
    enough = failing and failures >= thresholds.failure
    if effect is Effect.IMMEDIATE or (
        enough and (not early or observation.reason is Reason.UNREACHABLE)
    ):
        status = Status.NOT_SERVING
    elif not failing and successes >= thresholds.success:
        status = Status.SERVING

    reason = state.reason
    if status is Status.SERVING:
        reason = Reason.OK
    elif observation.reason is not Reason.OK:
        reason = observation.reason

    reasons: frozenset[Reason] = frozenset()
    if status is Status.NOT_SERVING:
        reasons = state.reasons | {observation.reason} - {Reason.OK}

    first_serving_at = state.first_serving_at
    if first_serving_at is None and status is Status.SERVING:
        first_serving_at = observation.at

    return CheckState(
        since=state.since if status is state.status else observation.at,
        status=status,
        reason=reason,
        last_reason=observation.reason,
        observed_at=observation.at,
        duration=observation.duration,
        first_serving_at=first_serving_at,
        failures=failures,
        failed_at=failed_at,
        successes=successes,
        succeeded_at=succeeded_at,
        reasons=reasons,
    )


def _count(
    state: CheckState, observation: Observation, thresholds: Thresholds, *, early: bool
) -> tuple[int, float]:
    """How many failures there are in a row with this one, and when one was last counted."""
    failures, failed_at = state.failures, state.failed_at
    if (
        early
        and observation.reason is Reason.UNREACHABLE
        and state.last_reason is not Reason.UNREACHABLE
    ):
        return 1, observation.at  # what came before is no part of this row
    if failed_at is None or observation.at - failed_at >= thresholds.min_failure_interval:
        return failures + 1, observation.at
    return failures, failed_at


@dataclass(frozen=True, slots=True)
class Transition:
    """A status that moved: from what to what, for which reason, after how many seconds.

    While a check that was asked is not serving, each new reason is reported
    once too; `before` and `after` are then the same.
    """

    check: Check
    probe: Probe
    before: Status
    after: Status
    reason: Reason
    detail: str
    at: float
    lasted: float


class Health(NamedTuple):
    """Everything that is known at one moment; an immutable value, folded by `observe`.

    `checks` holds what each check means for readiness, `server-live`
    included; `live` is what the same results of ServerLive mean for liveness.
    `has_started`: the server that runs now has passed startup by other checks
    than these. `startup_began_at`: the start, or when the server before it was
    first found unreachable. `asked_since`: when this address was asked first.
    """

    started_at: float
    asked_since: float
    startup_began_at: float
    last_observation_at: float
    live: CheckState
    checks: Mapping[Check, CheckState]
    liveness: Thresholds
    readiness: Thresholds
    draining: bool = False
    has_started: bool = False

    @classmethod
    def initial(
        cls, checks: Iterable[Check], now: float, liveness: Thresholds, readiness: Thresholds
    ) -> "Health":
        """Before the first observation: everything is unknown."""
        live = CheckState(since=now)
        known = dict.fromkeys(checks, live)
        return cls(now, now, now, now, live, known, liveness, readiness)

    @property
    def all_healthy(self) -> bool:
        """Whether all is well: everything is serving and nothing else was said since."""
        states = (self.live, *self.checks.values())
        return all(s.status is Status.SERVING and s.last_reason in CALM for s in states)

    def observe(self, observation: Observation) -> tuple["Health", tuple[Transition, ...]]:
        """The health after one more observation, and every status that it moved.

        When ServerLive finds the server silent, every other check inherits
        that reason; when the server is gone, the next one has its start-up
        before it. An observation of a check that was removed is dropped.
        """
        check, live = observation.check, self.live
        if check not in self.checks:
            return self, ()
        checks = dict(self.checks)
        transitions, gone = [], False
        affected: Iterable[Check] = (check,)
        if check == SERVER_LIVE:
            live = step(live, observation, Probe.LIVENESS, self.liveness)
            transitions += _transition(check, Probe.LIVENESS, self.live, live, observation)
            if REASONS[observation.reason].silences:
                affected = checks
            there = self.live.last_reason not in (None, Reason.UNREACHABLE)
            gone = there and observation.reason is Reason.UNREACHABLE
        for each in affected:
            before = checks[each]
            after = step(before, observation, Probe.READINESS, self.readiness)
            checks[each] = after._replace(first_serving_at=None) if gone else after
            transitions += _transition(each, Probe.READINESS, before, after, observation)
        health = self._replace(live=live, checks=checks, last_observation_at=observation.at)
        if gone:
            health = health._replace(startup_began_at=observation.at, has_started=False)
        return health, tuple(transitions)

    def asking(
        self, checks: Iterable[Check], now: float, liveness: Thresholds, readiness: Thresholds
    ) -> "Health":
        """The health with other checks or thresholds from now on; a check that stays is kept."""
        fresh = CheckState(since=now)
        return self._replace(
            checks={check: self.checks.get(check, fresh) for check in checks},
            liveness=liveness,
            readiness=readiness,
        )

    def forget(self, now: float) -> "Health":
        """The health when the checks ask another server from now on: all is unknown."""
        fresh = CheckState(since=now)
        return self._replace(
            asked_since=now,
            live=fresh,
            checks=dict.fromkeys(self.checks, fresh),
            startup_began_at=now,
            has_started=False,
        )

    def drain(self) -> "Health":
        """The health once this sidecar has been asked to stop."""
        return self._replace(draining=True)


def _transition(
    check: Check, probe: Probe, before: CheckState, after: CheckState, observation: Observation
) -> list[Transition]:
    other_reason = after.status is Status.NOT_SERVING and after.reasons != before.reasons
    if after.status is before.status and not (other_reason and check == observation.check):
        return []
    return [
        Transition(
            check=check,
            probe=probe,
            before=before.status,
            after=after.status,
            reason=observation.reason,
            detail=observation.detail,
            at=observation.at,
            lasted=observation.at - before.since,
        )
    ]
