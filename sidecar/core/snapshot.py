"""Health, time and policy of one moment: what every output reads."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from sidecar.core.canary import Canary
from sidecar.core.checks import CANARY, MODEL, SERVER_READY, Check, Payload, canary, model_ready
from sidecar.core.state import Health
from sidecar.core.status import CheckState, Status


@dataclass(frozen=True, slots=True)
class Quorum:
    """How many of the required models must be ready: at least `count` and at least `percent`."""

    count: int = 0
    percent: float = 100

    def of(self, models: int) -> int:
        """The number needed among so many; never more than there are."""
        return min(models, max(self.count, math.ceil(models * self.percent / 100)))


@dataclass(frozen=True, slots=True)
class Policy:
    """What counts towards the verdicts. Durations are seconds.

    max_age:        results older than this are stale.
    quorum:         how many of the required models must be ready.
    optional:       checks that are probed and shown and gate nothing.
    startup_grace:  for so long after the start a server that was never yet seen
                    live does not fail liveness.
    """

    max_age: float
    quorum: Quorum = Quorum()
    optional: frozenset[Check] = frozenset()
    require_server_ready: bool = True
    startup_grace: float = 0


class Models(NamedTuple):
    """How many models are required, how many of them must be ready, and how many are."""

    required: int
    needed: int
    ready: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the outputs say rests on this.

    health:  an immutable value, so that the snapshot may be read later, in another thread.
    now:     the moment, in monotonic seconds.
    """

    health: Health
    now: float
    policy: Policy

    def gates(self, check: Check) -> bool:
        """Whether readiness rests on this check; the others are only shown."""
        if check == SERVER_READY:
            return self.policy.require_server_ready
        if check.kind != CANARY:
            return check not in self.policy.optional
        canary = self.health.checks[check].canary
        is_optional = model_ready(check.model, check.version) in self.policy.optional
        return not (is_optional or (canary and canary.unconfigured))

    def is_stale(self, state: CheckState) -> bool:
        """Whether the last result is too old to prove anything."""
        at = state.observed_at
        return at is not None and self.now - at > self._max_age(state)

    def is_ready(self, state: CheckState) -> bool:
        """Whether a check is serving, by a result that is not stale."""
        # Written in full, because it runs for each of thousands of checks at each request.
        at = state.observed_at
        if state.canary is not None:
            return self._is_proven(state, state.canary)
        serving = state.status is Status.SERVING
        max_age = self.policy.max_age if state.max_age is None else state.max_age
        return serving and at is not None and self.now - at <= max_age

    def is_model_proven(self, check: Check) -> bool:
        """Whether a model's canary lets it count as ready; it does where there is none."""
        state = self.health.checks.get(canary(check.model, check.version))
        return state is None or state.canary is None or self._is_proven(state, state.canary)

    def restart_candidates(self) -> list[Check]:
        """The canaries that have failed for so long that a restart is asked for."""
        after = self.health.canaries.rules.restart_after
        return [
            check
            for check, state in self.health.checks.items()
            if (known := state.canary) is not None
            and after > 0
            and known.has_succeeded
            and known.failing_since is not None
            and self.now - known.failing_since >= after
            and state.status is Status.NOT_SERVING
            and self.gates(check)
        ]

    def _is_proven(self, state: CheckState, known: Canary) -> bool:
        if known.unconfigured:
            return True
        if state.status is Status.UNKNOWN:
            # A request that was built may not fit the model, whatever comes of it.
            timeout = self.health.canaries.rules.timeout
            return known.payload is Payload.BUILT and self.now - state.since > timeout
        return state.status is Status.SERVING and not self.is_stale(state)

    def _max_age(self, state: CheckState) -> float:
        if state.canary is not None:
            return self.health.canaries.rules.max_age
        return self.policy.max_age if state.max_age is None else state.max_age

    @property
    def models(self) -> Models:
        """The required models, counted; one with a canary is ready when that passes too."""
        has_canaries = any(check.kind == CANARY for check in self.health.checks)
        ready = [
            self.is_ready(state) and (not has_canaries or self.is_model_proven(check))
            for check, state in self.health.checks.items()
            if check.kind == MODEL and self.gates(check)
        ]
        return Models(len(ready), self.policy.quorum.of(len(ready)), sum(ready))
