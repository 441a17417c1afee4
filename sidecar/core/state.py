"""The state machine: the health, and every event that can change it.

status.py defines how one result changes the status of its check.
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
    """A change of a status, its reason, and how many seconds the status before it lasted.

    While a check is not serving, each new reason of a probe is reported once as a
    transition too; `before` and `after` are then the same.
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
    """The health of the server at one moment; an immutable value, folded by `observe`.

    `checks` holds the state of each check for readiness, including
    `server-live`; `live` is the state of ServerLive for liveness.
    `has_started`: the running server has passed startup with an earlier set of
    checks. `startup_began_at`: the start of the sidecar, or when the previous
    server was first found unreachable. `asked_since`: when this address was
    first probed. `opened`: when each canary in flight was sent.
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
        """Return the health before the first observation, in which everything is unknown."""
        known = {check: canaries.fresh(check, now) for check in checks}
        live = CheckState(since=now)
        return cls(now, now, now, now, live, known, liveness, readiness, canaries)

    @property
    def all_healthy(self) -> bool:
        """Whether everything is serving and the last results are not failures.

        It decides how soon the next round starts. Canaries and the repository do
        not count, because rounds do not run them.
        """
        states = (self.live, *self.checks.values())
        return all(
            s.status is Status.SERVING and s.last_reason in CALM
            for s in states
            if not s.canary and s.max_age is None
        )

    def observe(self, observation: Observation) -> tuple["Health", tuple[Transition, ...]]:
        """Return the health after one more observation, and the transitions.

        When ServerLive finds the server silent, every other check except canaries
        inherits the reason. When the server is gone, startup begins again. An
        observation of a check that was removed is dropped.
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
        """Whether a canary in flight may be what delays the answer to ServerLive.

        Some servers run inferences in the thread that answers health calls.
        """
        if observation.reason is not Reason.TIMEOUT:
            return False
        timeout = self.canaries.rules.timeout
        return any(observation.at - at < timeout for at in self.opened.values())

    def open_canary(self, check: Check, now: float) -> "Health":
        """Return the health after a canary was sent."""
        return self._replace(opened={**self.opened, check: now})

    def close_canary(self, check: Check) -> "Health":
        """Return the health after a canary has ended."""
        return self._replace(opened={c: at for c, at in self.opened.items() if c != check})

    def skip_canary(self, check: Check, now: float) -> "Health":
        """Return the health after a canary was skipped because real traffic succeeds."""
        state = self.checks[check]
        known = (state.canary or Canary()).skip()
        after = state._replace(observed_at=now, canary=known)
        return self._replace(checks={**self.checks, check: after})

    def reset_canaries(self, unproven: Iterable[Check], now: float) -> "Health":
        """Return the health in which the models of these canaries need new successes."""
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
        """Return the health with other checks or thresholds; checks in both keep their state."""
        known = {c: self.checks.get(c) or canaries.fresh(c, now) for c in checks}
        return self._replace(
            checks=known, liveness=liveness, readiness=readiness, canaries=canaries
        )

    def discovering(self, discovered: Discovered) -> "Health":
        """Return the health in which these checks come from discovery."""
        checks = self.checks.items()
        return self._replace(checks={c: discovered.mark(c, state) for c, state in checks})

    def with_other_payloads(self, changed: Iterable[Check]) -> "Health":
        """Return the health after the requests of these canaries were changed."""
        checks = dict(self.checks)
        for check in changed:
            payload = Payload.GIVEN if check in self.canaries.given else Payload.BUILT
            known = (checks[check].canary or Canary()).with_other(payload)
            checks[check] = checks[check]._replace(canary=known)
        return self._replace(checks=checks)

    def forget(self, now: float) -> "Health":
        """Return the health for another server: everything is unknown."""
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
        """Return the health after this sidecar was asked to stop."""
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
    """Return the health in which canaries follow the models whose readiness has changed."""
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
