"""The state machine: everything that can move a status is in this file.

What each answer does to a status is in the table of reasons.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from sidecar.core.checks import SERVER_LIVE, Answer, Check, Observation
from sidecar.core.persistent_map import PersistentMap
from sidecar.core.reasons import CALM, REASONS, Effect, Thresholds


class Status(StrEnum):
    """What is believed of a check. Unknown is never good enough."""

    UNKNOWN = "UNKNOWN"
    SERVING = "SERVING"
    NOT_SERVING = "NOT_SERVING"


class Probe(StrEnum):
    """Kubernetes' word for what a status is judged for."""

    LIVENESS = "liveness"
    READINESS = "readiness"


class CheckState(NamedTuple):
    """What is known of one check for one probe. Times are monotonic seconds.

    `reason` is the answer behind the status: `ok` while serving, the latest
    failure while not, None before any answer has said anything. `reasons` are
    all that there were since it was not serving. `first_serving_at`: for
    readiness, of the server that runs now. `failed_at`: when a failure was
    last counted; `succeeded_at`: the last success.
    """

    since: float
    status: Status = Status.UNKNOWN
    reason: Answer | None = None
    answer: Answer | None = None
    answered_at: float | None = None
    took: float | None = None
    first_serving_at: float | None = None
    failures: int = 0
    failed_at: float | None = None
    successes: int = 0
    succeeded_at: float | None = None
    reasons: frozenset[Answer] = frozenset()


def step(state: CheckState, seen: Observation, probe: Probe, thresholds: Thresholds) -> CheckState:
    """The state after one more answer."""
    row = REASONS[seen.answer]
    effect = row.readiness if probe is Probe.READINESS else row.liveness
    if effect is Effect.NONE:
        return state._replace(
            reason=state.reason or seen.answer,
            answer=seen.answer,
            answered_at=seen.at,
            took=seen.took,
        )
    failing = effect is not Effect.SUCCESS
    succeeded_at = state.succeeded_at if failing else seen.at
    failures, failed_at, successes = 0, None, state.successes + 1
    early = succeeded_at is not None and seen.at - succeeded_at < thresholds.min_duration
    if failing:
        failures, failed_at = _count(state, seen, thresholds, early=early)
        successes = 0

    status = state.status
    enough = failing and failures >= thresholds.failure
    if effect is Effect.IMMEDIATE or (enough and (not early or seen.answer is Answer.UNREACHABLE)):
        status = Status.NOT_SERVING
    elif not failing and successes >= thresholds.success:
        status = Status.SERVING

    reason = state.reason
    if status is Status.SERVING:
        reason = Answer.OK
    elif seen.answer is not Answer.OK:
        reason = seen.answer

    reasons: frozenset[Answer] = frozenset()
    if status is Status.NOT_SERVING:
        reasons = state.reasons | {seen.answer} - {Answer.OK}

    first_serving_at = state.first_serving_at
    if first_serving_at is None and status is Status.SERVING:
        first_serving_at = seen.at

    return CheckState(
        since=state.since if status is state.status else seen.at,
        status=status,
        reason=reason,
        answer=seen.answer,
        answered_at=seen.at,
        took=seen.took,
        first_serving_at=first_serving_at,
        failures=failures,
        failed_at=failed_at,
        successes=successes,
        succeeded_at=succeeded_at,
        reasons=reasons,
    )


def _count(
    state: CheckState, seen: Observation, thresholds: Thresholds, *, early: bool
) -> tuple[int, float]:
    """How many failures there are in a row with this one, and when one was last counted."""
    failures, failed_at = state.failures, state.failed_at
    if early and seen.answer is Answer.UNREACHABLE and state.answer is not Answer.UNREACHABLE:
        return 1, seen.at  # what came before is no part of this row
    if failed_at is None or seen.at - failed_at >= thresholds.min_failure_interval:
        return failures + 1, seen.at
    return failures, failed_at


@dataclass(frozen=True, slots=True)
class Transition:
    """A status that moved: from what to what, by which answer, after how many seconds.

    While a check that was asked is not serving, each new reason is reported
    once too; `before` and `after` are then the same.
    """

    check: Check
    probe: Probe
    before: Status
    after: Status
    reason: Answer
    detail: str
    at: float
    lasted: float


class Health(NamedTuple):
    """Everything that is known at one moment; an immutable value, folded by `observe`.

    `checks` holds what each check means for readiness, `server-live`
    included; `live` is what the same ServerLive answers mean for liveness.
    `has_started`: the server that runs now has passed startup by other checks
    than these. `startup_began_at`: the start, or when the server before it was
    first found unreachable. `asked_since`: when this address was asked first.
    """

    started_at: float
    asked_since: float
    startup_began_at: float
    last_observation_at: float
    live: CheckState
    checks: PersistentMap[Check, CheckState]
    liveness: Thresholds
    readiness: Thresholds
    draining: bool = False
    has_started: bool = False

    @classmethod
    def initial(
        cls, checks: Iterable[Check], now: float, liveness: Thresholds, readiness: Thresholds
    ) -> "Health":
        """Before the first answer: everything is unknown."""
        live = CheckState(since=now)
        known = PersistentMap(dict.fromkeys(checks, live))
        return cls(now, now, now, now, live, known, liveness, readiness)

    @property
    def all_healthy(self) -> bool:
        """Whether all is well: everything is serving and nothing else was said since."""
        states = (self.live, *self.checks.values())
        return all(s.status is Status.SERVING and s.answer in CALM for s in states)

    def observe(self, seen: Observation) -> tuple["Health", tuple[Transition, ...]]:
        """The health after one more answer, and every status that it moved.

        When ServerLive finds the server silent, every other check inherits
        that answer; when the server is gone, the next one has its start-up
        before it. An answer to a check that is no longer asked is dropped.
        """
        check, checks, live = seen.check, self.checks, self.live
        if check not in checks:
            return self, ()
        transitions, gone = [], False
        told: Iterable[Check] = (check,)
        if check == SERVER_LIVE:
            live = step(live, seen, Probe.LIVENESS, self.liveness)
            transitions += _transition(check, Probe.LIVENESS, self.live, live, seen)
            if REASONS[seen.answer].silences:
                told = checks
            there = self.live.answer not in (None, Answer.UNREACHABLE)
            gone = there and seen.answer is Answer.UNREACHABLE
        for each in told:
            before = checks[each]
            after = step(before, seen, Probe.READINESS, self.readiness)
            checks = checks.put(each, after._replace(first_serving_at=None) if gone else after)
            transitions += _transition(each, Probe.READINESS, before, after, seen)
        health = self._replace(live=live, checks=checks, last_observation_at=seen.at)
        if gone:
            health = health._replace(startup_began_at=seen.at, has_started=False)
        return health, tuple(transitions)

    def asking(
        self, checks: Iterable[Check], now: float, liveness: Thresholds, readiness: Thresholds
    ) -> "Health":
        """The health with other checks or thresholds from now on; a check that stays is kept."""
        fresh = CheckState(since=now)
        return self._replace(
            checks=PersistentMap({check: self.checks.get(check, fresh) for check in checks}),
            liveness=liveness,
            readiness=readiness,
        )

    def forget(self, now: float) -> "Health":
        """The health when the checks ask another server from now on: all is unknown."""
        fresh = CheckState(since=now)
        return self._replace(
            asked_since=now,
            live=fresh,
            checks=PersistentMap(dict.fromkeys(self.checks, fresh)),
            startup_began_at=now,
            has_started=False,
        )

    def drain(self) -> "Health":
        """The health once this sidecar has been asked to stop."""
        return self._replace(draining=True)


def _transition(
    check: Check, probe: Probe, before: CheckState, after: CheckState, seen: Observation
) -> list[Transition]:
    other_reason = after.status is Status.NOT_SERVING and after.reasons != before.reasons
    if after.status is before.status and not (other_reason and check == seen.check):
        return []
    return [
        Transition(
            check=check,
            probe=probe,
            before=before.status,
            after=after.status,
            reason=seen.answer,
            detail=seen.detail,
            at=seen.at,
            lasted=seen.at - before.since,
        )
    ]
