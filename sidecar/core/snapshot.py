"""A snapshot: health, time and policy at one moment. Every output reads one."""

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
        """Return the number needed among this many; never more than there are."""
        return min(models, max(self.count, math.ceil(models * self.percent / 100)))


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of the verdicts. Durations are in seconds.

    max_age:        results older than this are stale.
    quorum:         how many of the required models must be ready.
    optional:       checks that are probed and shown, but do not gate.
    startup_grace:  how long after the start a server that has never been live does
                    not fail liveness.
    """

    max_age: float
    quorum: Quorum = Quorum()
    optional: frozenset[Check] = frozenset()
    require_server_ready: bool = True
    startup_grace: float = 0


class Models(NamedTuple):
    """The numbers of required models: all, those that must be ready, and those that are."""

    required: int
    needed: int
    ready: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The basis of everything that the outputs report.

    health:  an immutable value, so that the snapshot can be read later and in another thread.
    now:     monotonic seconds.
    """

    health: Health
    now: float
    policy: Policy

    def gates(self, check: Check) -> bool:
        """Whether this check gates readiness; others are only shown."""
        if check == SERVER_READY:
            return self.policy.require_server_ready
        if check.kind != CANARY:
            return check not in self.policy.optional
        canary = self.health.checks[check].canary
        is_optional = model_ready(check.model, check.version) in self.policy.optional
        return not (is_optional or (canary and canary.unconfigured))

    def is_stale(self, state: CheckState) -> bool:
        """Whether the last result is stale."""
        at = state.observed_at
        return at is not None and self.now - at > self._max_age(state)

    def is_ready(self, state: CheckState) -> bool:
        """Whether a check is serving and its last result is not stale."""
        # Inlined for speed: it runs for each of thousands of checks at each request.
        at = state.observed_at
        if state.canary is not None:
            return self._is_proven(state, state.canary)
        serving = state.status is Status.SERVING
        max_age = self.policy.max_age if state.max_age is None else state.max_age
        return serving and at is not None and self.now - at <= max_age

    def is_model_proven(self, check: Check) -> bool:
        """Whether a model's canary passes, or the model has none."""
        state = self.health.checks.get(canary(check.model, check.version))
        return state is None or state.canary is None or self._is_proven(state, state.canary)

    def restart_candidates(self) -> list[Check]:
        """The canaries that have failed for long enough to request a restart."""
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
            # A generated request may not fit the model, so its failures prove nothing.
            timeout = self.health.canaries.rules.timeout
            return known.payload is Payload.BUILT and self.now - state.since > timeout
        return state.status is Status.SERVING and not self.is_stale(state)

    def _max_age(self, state: CheckState) -> float:
        if state.canary is not None:
            return self.health.canaries.rules.max_age
        return self.policy.max_age if state.max_age is None else state.max_age

    @property
    def models(self) -> Models:
        """Count the required models; one with a canary is ready only if the canary passes too."""
        has_canaries = any(check.kind == CANARY for check in self.health.checks)
        ready = [
            self.is_ready(state) and (not has_canaries or self.is_model_proven(check))
            for check, state in self.health.checks.items()
            if check.kind == MODEL and self.gates(check)
        ]
        return Models(len(ready), self.policy.quorum.of(len(ready)), sum(ready))
