"""One table with the effects of each reason, and the thresholds of failures.

Each reason has one effect on readiness and another on liveness, because traffic
needs proof that the server works and a restart needs proof that it is dead. A
server that refuses a call is not dead.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import NamedTuple, TypeVar

V = TypeVar("V")


class Reason(StrEnum):
    """All results that a check can have.

    They are the values of the metrics' label `reason`, and appear in response bodies, JSON and
    logs. The server's own text is never one of them.
    """

    __hash__ = str.__hash__

    OK = "ok"
    NOT_READY = "not_ready"
    MODEL_NOT_FOUND = "model_not_found"
    UNREACHABLE = "unreachable"
    SHUTTING_DOWN = "shutting_down"
    TIMEOUT = "timeout"
    BUSY = "busy"
    REJECTED = "rejected"
    TLS = "tls"
    DENIED = "denied"
    UNIMPLEMENTED = "unimplemented"
    ERROR = "error"
    INVALID_REQUEST = "invalid_request"
    WRONG_OUTPUT = "wrong_output"


def for_each_reason(table: Mapping[Reason, V]) -> Mapping[Reason, V]:
    """Return the table. Raises TypeError, at import, if a reason has no row.

    Without this check a missing row would end the daemon at the first such result.
    """
    missing = ", ".join(reason for reason in Reason if reason not in table)
    if missing:
        raise TypeError(f"the table has no row for {missing}")
    return table


class Effect(Enum):
    """The effect of a result on a status."""

    SUCCESS = auto()  # serving, after success_threshold in a row
    IMMEDIATE = auto()  # not serving, at once
    COUNTED = auto()  # not serving, after failure_threshold in a row
    NONE = auto()  # the status and its counts stay, the result is fresh


# The exit codes of `sidecar check`, by the reason of a failing check.
NOT_READY, UNREACHABLE, NO_ANSWER = 1, 3, 4


class Row(NamedTuple):
    """The properties of one reason.

    readiness, liveness:  its effect on each.
    letter:     its letter in the history of a check on the status page.
    exit_code:  of `sidecar check` if a check fails with this reason.
    meaning:    an explanation in one line.
    silences:   as a result of ServerLive: the whole server gave no answer. Its models are not
                probed; they inherit the reason.
    """

    readiness: Effect
    liveness: Effect
    letter: str
    exit_code: int
    meaning: str
    silences: bool = False


_S, _I, _C, _N = Effect.SUCCESS, Effect.IMMEDIATE, Effect.COUNTED, Effect.NONE

REASONS: Mapping[Reason, Row] = for_each_reason(
    {
        Reason.OK: Row(_S, _S, ".", NOT_READY, "the check passed"),
        Reason.NOT_READY: Row(_I, _C, "n", NOT_READY, "the server answered false"),
        Reason.MODEL_NOT_FOUND: Row(_I, _S, "m", NOT_READY, "the server does not have the model"),
        Reason.UNREACHABLE: Row(
            _I, _C, "u", UNREACHABLE, "no connection to the server", silences=True
        ),
        Reason.SHUTTING_DOWN: Row(_I, _S, "s", NOT_READY, "the server is exiting"),
        Reason.TIMEOUT: Row(_C, _C, "t", NO_ANSWER, "no answer in time", silences=True),
        Reason.BUSY: Row(_N, _S, "b", NOT_READY, "the server is alive and overloaded"),
        Reason.REJECTED: Row(
            _C, _S, "r", NOT_READY, "the server refused the call; the sidecar's log has its text"
        ),
        Reason.TLS: Row(_I, _S, "l", UNREACHABLE, "the TLS handshake fails", silences=True),
        Reason.DENIED: Row(_I, _S, "d", NOT_READY, "the server denies access"),
        Reason.UNIMPLEMENTED: Row(
            _I,
            _S,
            "i",
            NOT_READY,
            "the call does not exist, or the port speaks another protocol",
        ),
        Reason.ERROR: Row(
            _C, _C, "e", NOT_READY, "the call failed; the sidecar's log has the server's text"
        ),
        Reason.INVALID_REQUEST: Row(
            _I, _S, "q", NOT_READY, "the server does not accept the canary's request"
        ),
        Reason.WRONG_OUTPUT: Row(_C, _S, "w", NOT_READY, "the canary's reply is not as expected"),
    }
)

# Results after which a serving check is not probed sooner than usual.
CALM = frozenset({Reason.OK, Reason.BUSY})


def evidence_of_life(answer: Reason) -> int:
    """How strongly a result proves that the server is live; higher is stronger."""
    if answer is Reason.OK:
        return 3
    if REASONS[answer].liveness is Effect.SUCCESS:
        return 2
    return 0 if answer is Reason.UNREACHABLE else 1


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How many consecutive results change a status, as the kubelet's thresholds do.

    A failure less than `min_failure_interval` seconds after the last counted
    one is not counted. Within `min_duration` seconds after the last success, only
    consecutive `unreachable` results change the status.
    """

    failure: int = 3
    success: int = 1
    min_failure_interval: float = 0
    min_duration: float = 0
