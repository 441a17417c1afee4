"""Health, time and policy of one moment: what every output reads."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from sidecar.core.checks import MODEL, SERVER_READY, Check
from sidecar.core.state import CheckState, Health, Status


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
        return check not in self.policy.optional

    def is_stale(self, state: CheckState) -> bool:
        """Whether the last result is too old to prove anything."""
        at = state.observed_at
        return at is not None and self.now - at > self.policy.max_age

    def is_ready(self, state: CheckState) -> bool:
        """Whether a check is serving, by a result that is not stale."""
        # Written in full, because it runs for each of thousands of checks at each request.
        at = state.observed_at
        serving = state.status is Status.SERVING
        return serving and at is not None and self.now - at <= self.policy.max_age

    @property
    def models(self) -> Models:
        """The required models, counted."""
        ready = [
            self.is_ready(state)
            for check, state in self.health.checks.items()
            if check.kind == MODEL and self.gates(check)
        ]
        return Models(len(ready), self.policy.quorum.of(len(ready)), sum(ready))
