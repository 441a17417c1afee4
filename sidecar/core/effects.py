"""What each answer does to a status, and how many of them it takes.

Each has one effect on readiness and another on liveness, because traffic needs
proof that the server works and a restart needs proof that it is dead. A server
that refuses is not dead.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from sidecar.core.checks import Answer, for_each_answer


class Effect(Enum):
    """What an answer does to a status."""

    SUCCESS = auto()  # serving, after success_threshold in a row
    IMMEDIATE = auto()  # not serving, at once
    COUNTED = auto()  # not serving, after failure_threshold in a row
    NONE = auto()  # the status and its counts stay, the answer is fresh


EFFECTS: Mapping[Answer, tuple[Effect, Effect]] = for_each_answer(
    {
        # answer:              (for readiness,   for liveness)
        Answer.OK: (Effect.SUCCESS, Effect.SUCCESS),
        Answer.NOT_READY: (Effect.IMMEDIATE, Effect.COUNTED),
        Answer.MODEL_NOT_FOUND: (Effect.IMMEDIATE, Effect.SUCCESS),  # who refuses is there
        Answer.UNREACHABLE: (Effect.IMMEDIATE, Effect.COUNTED),
        Answer.SHUTTING_DOWN: (Effect.IMMEDIATE, Effect.SUCCESS),
        Answer.TIMEOUT: (Effect.COUNTED, Effect.COUNTED),
        Answer.BUSY: (Effect.NONE, Effect.SUCCESS),
        Answer.REJECTED: (Effect.COUNTED, Effect.SUCCESS),
        Answer.TLS: (Effect.IMMEDIATE, Effect.SUCCESS),
        Answer.DENIED: (Effect.IMMEDIATE, Effect.SUCCESS),
        Answer.UNIMPLEMENTED: (Effect.IMMEDIATE, Effect.SUCCESS),
        Answer.ERROR: (Effect.COUNTED, Effect.COUNTED),
    }
)


def evidence_of_life(answer: Answer) -> int:
    """How much an answer proves that the server lives: the strongest of several counts."""
    if answer is Answer.OK:
        return 3
    if EFFECTS[answer][1] is Effect.SUCCESS:
        return 2
    return 0 if answer is Answer.UNREACHABLE else 1


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How many in a row move a status: the kubelet's failureThreshold and successThreshold.

    A failure less than `min_failure_interval` seconds after the last counted
    one is not counted. For `min_duration` seconds after the last success only a
    row of `unreachable` moves the status.
    """

    failure: int = 3
    success: int = 1
    min_failure_interval: float = 0
    min_duration: float = 0


# Answers after which a check that is serving need not be asked again any sooner.
CALM = frozenset({Answer.OK, Answer.BUSY})
