"""What is asked of the server, and what came back.

The values that are made for every poll are tuples: a frozen dataclass takes
more than twice as long to make, compare and hash, on every poll.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, TypeVar

V = TypeVar("V")


class Reason(StrEnum):
    """The closed list of words that one question can end in.

    They are also the `reason` label of the metrics and the words in bodies,
    JSON and logs. What the server itself wrote is never one of them.
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


def for_each_reason(table: Mapping[Reason, V]) -> Mapping[Reason, V]:
    """The table, or TypeError at import when a reason has no row in it.

    A table that forgot one would end the daemon at the first such result.
    """
    missing = ", ".join(reason for reason in Reason if reason not in table)
    if missing:
        raise TypeError(f"the table has no row for {missing}")
    return table


class Check(NamedTuple):
    """One thing that is asked again and again.

    kind:    the first part of its name, and the key of its probe.
    rpc:     the call that asks it, by its name in the protocol.
    model, version:  of a check of one model; else empty.
    """

    kind: str
    rpc: str
    model: str = ""
    version: str = ""

    @property
    def name(self) -> str:
        """The name in bodies and paths: `server-live`, `model:bert`, `model:bert:3`."""
        return ":".join(filter(None, (self.kind, self.model, self.version)))


SERVER_LIVE = Check("server-live", "ServerLive")
SERVER_READY = Check("server-ready", "ServerReady")
MODEL = "model"


def model_ready(model: str, version: str = "") -> Check:
    """The check whether a model is ready, in any version or in this one."""
    return Check(MODEL, "ModelReady", model, version)


class Observation(NamedTuple):
    """One result of a check: its reason, when it came and how long it took.

    `at` is a monotonic time and `duration` what the call took, both in seconds. `detail`
    is the server's own text; it goes to the log and nowhere else.
    """

    check: Check
    reason: Reason
    at: float
    duration: float
    detail: str = ""
