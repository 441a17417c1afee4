"""The state of one check, and how a result changes it.

The effect of each reason is in the table of reasons.py. The rules for canaries are in canary.py.
"""

from enum import StrEnum
from typing import NamedTuple

from sidecar.core.canary import Canary, CanaryRules, Outcome
from sidecar.core.checks import CANARY, Check, Observation, Payload
from sidecar.core.reasons import REASONS, Effect, Reason, Thresholds


class Status(StrEnum):
    """The status of a check. UNKNOWN does not pass readiness."""

    UNKNOWN = "UNKNOWN"
    SERVING = "SERVING"
    NOT_SERVING = "NOT_SERVING"


class Probe(StrEnum):
    """The probe that uses a status, by its name in Kubernetes."""

    LIVENESS = "liveness"
    READINESS = "readiness"


# Shared, because each frozenset() is a new object of 216 bytes.
NO_REASONS: frozenset[Reason] = frozenset()


class CheckState(NamedTuple):
    """The state of one check for one probe. Times are monotonic seconds.

    `reason` is the reason for the status: `ok` while serving, the latest failure
    while not serving, None before the first change. `reasons` are all reasons
    since it stopped serving. `first_serving_at`: for readiness, when it was first
    serving on the running server. `failed_at`: when a failure was last counted;
    `succeeded_at`: the last success. `max_age`: the age at which a result becomes
    stale, if it is not the policy's.
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
    reasons: frozenset[Reason] = NO_REASONS
    canary: Canary | None = None
    gates_startup: bool = True
    max_age: float | None = None


def step(
    state: CheckState, observation: Observation, probe: Probe, thresholds: Thresholds
) -> CheckState:
    """Return the state after one more observation."""
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

    reasons = NO_REASONS
    if status is Status.NOT_SERVING:
        reasons = state.reasons | {observation.reason} - {Reason.OK}

    return CheckState(
        since=state.since if status is state.status else observation.at,
        status=status,
        reason=reason,
        last_reason=observation.reason,
        observed_at=observation.at,
        duration=observation.duration,
        first_serving_at=_first_serving_at(state, status, observation.at),
        failures=failures,
        failed_at=failed_at,
        successes=successes,
        succeeded_at=succeeded_at,
        reasons=reasons,
        gates_startup=state.gates_startup,
        max_age=state.max_age,
    )


def _count(
    state: CheckState, observation: Observation, thresholds: Thresholds, *, early: bool
) -> tuple[int, float]:
    """Return the number of consecutive failures, this one included, and when one last counted."""
    failures, failed_at = state.failures, state.failed_at
    if (
        early
        and observation.reason is Reason.UNREACHABLE
        and state.last_reason is not Reason.UNREACHABLE
    ):
        return 1, observation.at  # earlier failures do not count
    if failed_at is None or observation.at - failed_at >= thresholds.min_failure_interval:
        return failures + 1, observation.at
    return failures, failed_at


def step_canary(state: CheckState, observation: Observation, rules: CanaryRules) -> CheckState:
    """Return the state of a canary after a result, or after one more timeout of the same call."""
    known, outcome = (state.canary or Canary()).fold(observation, rules)
    status = {
        Outcome.SERVING: Status.SERVING,
        Outcome.NOT_SERVING: Status.NOT_SERVING,
        Outcome.UNCONFIGURED: Status.UNKNOWN,
        Outcome.UNCHANGED: state.status,
    }[outcome]
    reason = Reason.OK if status is Status.SERVING else state.reason
    if status is not Status.SERVING and observation.reason is not Reason.OK:
        reason = observation.reason
    # Busy without progress proves nothing: the status stays until it is stale.
    is_fresh = observation.reason is not Reason.BUSY or observation.progress
    reasons = NO_REASONS
    if status is Status.NOT_SERVING:
        reasons = state.reasons | {observation.reason} - {Reason.OK}
    return state._replace(
        since=state.since if status is state.status else observation.at,
        status=status,
        reason=reason,
        last_reason=observation.reason,
        observed_at=observation.at if is_fresh else state.observed_at,
        duration=observation.duration,
        first_serving_at=_first_serving_at(state, status, observation.at),
        reasons=reasons,
        canary=known,
    )


def reset_canary(state: CheckState, now: float, rules: CanaryRules) -> CheckState:
    """Return the state of a canary whose model needs new successes."""
    return CheckState(since=now, canary=(state.canary or Canary()).reset(rules))


def wait_for_canary(state: CheckState, now: float) -> CheckState:
    """Return the state of a canary whose model has become ready; its result is due from now on."""
    return state._replace(since=now) if state.status is Status.UNKNOWN else state


def _first_serving_at(state: CheckState, status: Status, at: float) -> float | None:
    if state.first_serving_at is None and status is Status.SERVING:
        return at
    return state.first_serving_at


class Canaries(NamedTuple):
    """The rules for canaries, and which of them have a configured request."""

    rules: CanaryRules = CanaryRules()
    given: frozenset[Check] = frozenset()
    trusts_built: bool = False  # even if no such request has ever succeeded

    def fresh(self, check: Check, now: float) -> CheckState:
        """Return the state of a check before its first result."""
        if check.kind != CANARY:
            return CheckState(since=now)
        payload = Payload.GIVEN if check in self.given else Payload.BUILT
        known = Canary(payload, needed=self.rules.warmup, has_succeeded=self.trusts_built)
        return CheckState(since=now, canary=known)

    def once(self) -> "Canaries":
        """Return the rules with which a single result of each canary decides."""
        rules = self.rules._replace(failure_threshold=1, window=1, success_threshold=1, warmup=1)
        return self._replace(rules=rules, trusts_built=True)


NO_CANARIES = Canaries()
