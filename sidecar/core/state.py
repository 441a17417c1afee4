"""The state machine: the health, and every event that can change it.

status.py has what one result does to the status of its check.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from sidecar.core.canary import Canary, Restarts
from sidecar.core.checks import CANARY, MODEL, SERVER_LIVE, Check, Observation, Payload, canary
from sidecar.core.reasons import CALM, REASONS, Reason, Thresholds
from sidecar.core.repository import Discovered
from sidecar.core.status import (
    NO_CANARIES,
    Canaries,
    CheckState,
    Probe,
    Status,
    reset_canary,
    step,
    step_canary,
    wait_for_canary,
)


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
    `opened`: when each canary that is in flight was sent.
    """

    started_at: float
    asked_since: float
    startup_began_at: float
    last_observation_at: float
    live: CheckState
    checks: Mapping[Check, CheckState]
    liveness: Thresholds
    readiness: Thresholds
    canaries: Canaries = NO_CANARIES
    opened: Mapping[Check, float] = MappingProxyType({})
    restarts: Restarts = Restarts()
    draining: bool = False
    has_started: bool = False

    @classmethod
    def initial(
        cls,
        checks: Iterable[Check],
        now: float,
        liveness: Thresholds,
        readiness: Thresholds,
        canaries: Canaries = NO_CANARIES,
    ) -> "Health":
        """Before the first observation: everything is unknown."""
        known = {check: canaries.fresh(check, now) for check in checks}
        live = CheckState(since=now)
        return cls(now, now, now, now, live, known, liveness, readiness, canaries)

    @property
    def all_healthy(self) -> bool:
        """Whether everything is serving and no result since was a failure.

        It decides how soon the next round starts. What the rounds do not ask has
        no influence on that: the canaries and the repository.
        """
        states = (self.live, *self.checks.values())
        return all(
            s.status is Status.SERVING and s.last_reason in CALM
            for s in states
            if not s.canary and s.max_age is None
        )

    def observe(self, observation: Observation) -> tuple["Health", tuple[Transition, ...]]:
        """The health after one more observation, and every status that it moved.

        When ServerLive finds the server silent, every other check but the
        canaries inherits that reason; when the server is gone, the next one has
        its start-up before it. An observation of a check that was removed is
        dropped.
        """
        check, live = observation.check, self.live
        if check not in self.checks:
            return self, ()
        if check.kind == CANARY:
            return self._observe_canary(observation)
        checks = dict(self.checks)
        transitions, gone = [], False
        affected: Iterable[Check] = (check,)
        if check == SERVER_LIVE:
            if not self._waits_for_canary(observation):
                live = step(live, observation, Probe.LIVENESS, self.liveness)
            transitions += _transition(check, Probe.LIVENESS, self.live, live, observation)
            if REASONS[observation.reason].silences:
                affected = [each for each in checks if each.kind != CANARY]
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
            health = health.reset_canaries(list(checks), observation.at)
        elif transitions:
            health = _follow_models(health, transitions)
        return health, tuple(transitions)

    def _observe_canary(self, observation: Observation) -> tuple["Health", tuple[Transition, ...]]:
        check = observation.check
        before = self.checks[check]
        after = step_canary(before, observation, self.canaries.rules)
        health = self if observation.pending else self.close_canary(check)
        health = health._replace(checks={**self.checks, check: after})
        return health, tuple(_transition(check, Probe.READINESS, before, after, observation))

    def _waits_for_canary(self, observation: Observation) -> bool:
        """Whether a canary in flight may be what keeps ServerLive from an answer.

        It is on servers that infer in the thread that answers.
        """
        if observation.reason is not Reason.TIMEOUT:
            return False
        timeout = self.canaries.rules.timeout
        return any(observation.at - at < timeout for at in self.opened.values())

    def open_canary(self, check: Check, now: float) -> "Health":
        """The health once a canary was sent."""
        return self._replace(opened={**self.opened, check: now})

    def close_canary(self, check: Check) -> "Health":
        """The health once a canary has ended."""
        return self._replace(opened={c: at for c, at in self.opened.items() if c != check})

    def skip_canary(self, check: Check, now: float) -> "Health":
        """The health when real traffic has proven a model in the place of its canary."""
        state = self.checks[check]
        known = (state.canary or Canary()).skip()
        after = state._replace(observed_at=now, canary=known)
        return self._replace(checks={**self.checks, check: after})

    def reset_canaries(self, unproven: Iterable[Check], now: float) -> "Health":
        """The health when these canaries' models have to be proven again."""
        checks, rules = dict(self.checks), self.canaries.rules
        for check in unproven:
            if check in checks and check.kind == CANARY:
                checks[check] = reset_canary(checks[check], now, rules)
        return self._replace(checks=checks)

    def asking(
        self,
        checks: Iterable[Check],
        now: float,
        liveness: Thresholds,
        readiness: Thresholds,
        canaries: Canaries = NO_CANARIES,
    ) -> "Health":
        """The health with other checks or thresholds from now on; a check that stays is kept."""
        known = {c: self.checks.get(c) or canaries.fresh(c, now) for c in checks}
        return self._replace(
            checks=known, liveness=liveness, readiness=readiness, canaries=canaries
        )

    def discovering(self, discovered: Discovered) -> "Health":
        """The health when these checks come from the discovery."""
        checks = self.checks.items()
        return self._replace(checks={c: discovered.mark(c, state) for c, state in checks})

    def with_other_payloads(self, changed: Iterable[Check]) -> "Health":
        """The health when other requests were given for these canaries."""
        checks = dict(self.checks)
        for check in changed:
            payload = Payload.GIVEN if check in self.canaries.given else Payload.BUILT
            known = (checks[check].canary or Canary()).with_other(payload)
            checks[check] = checks[check]._replace(canary=known)
        return self._replace(checks=checks)

    def forget(self, now: float) -> "Health":
        """The health when the checks ask another server from now on: all is unknown."""
        return self._replace(
            asked_since=now,
            live=CheckState(since=now),
            checks={
                check: self.canaries.fresh(check, now)._replace(
                    gates_startup=state.gates_startup, max_age=state.max_age
                )
                for check, state in self.checks.items()
            },
            opened={},
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


def _follow_models(health: Health, transitions: Iterable[Transition]) -> Health:
    """The health once the canaries of models whose readiness has moved have followed."""
    checks, rules = dict(health.checks), health.canaries.rules
    for moved in transitions:
        check = canary(moved.check.model, moved.check.version)
        if moved.check.kind != MODEL or check not in checks:
            continue
        if moved.after is Status.NOT_SERVING is not moved.before:
            checks[check] = reset_canary(checks[check], moved.at, rules)
        elif moved.after is Status.SERVING:
            checks[check] = wait_for_canary(checks[check], moved.at)
    return health._replace(checks=checks)
