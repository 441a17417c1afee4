"""A short way to write down answers and fold them into a health."""

from sidecar.core.checks import SERVER_LIVE, SERVER_READY, Check, Observation, model_ready
from sidecar.core.reasons import Reason, Thresholds
from sidecar.core.state import Health, Transition
from sidecar.store import Cause, Change

A = model_ready("a")
B = model_ready("b", "3")
CHECKS = (SERVER_LIVE, SERVER_READY, A, B)


def initial(*checks: Check, now: float = 0, failure: int = 3, success: int = 1) -> Health:
    """A health before its first answer; both probes have the same thresholds."""
    thresholds = Thresholds(failure, success)
    return Health.initial(checks or CHECKS, now, thresholds, thresholds)


def saw(check: Check, answer: str, at: float = 0, duration: float = 0.001) -> Observation:
    """An observation."""
    return Observation(check, Reason(answer), at, duration, detail=f"why {answer}")


def change(health: Health, seen: Observation) -> Change:
    """What a observer is told of an observation that comes to this health."""
    after, transitions = health.observe(seen)
    return Change(Cause.RESULT, after, seen, transitions)


def fold(health: Health, *seen: Observation) -> Health:
    """The health after these."""
    return fold_all(health, *seen)[0]


def fold_all(health: Health, *seen: Observation) -> tuple[Health, list[Transition]]:
    """The health after these, and every transition on the way."""
    transitions: list[Transition] = []
    for one in seen:
        health, moved = health.observe(one)
        transitions += moved
    return health, transitions


def all_ok(health: Health, at: float = 0) -> Health:
    """The health after everything answered ok."""
    return fold(health, *(saw(check, "ok", at) for check in health.checks))
