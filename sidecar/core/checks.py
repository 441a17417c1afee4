"""What is asked of the server, and what came back.

The values that come with every answer are tuples: a frozen dataclass takes
more than twice as long to make, compare and hash, on every poll.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple, TypeVar

V = TypeVar("V")


class Rpc(StrEnum):
    """The protocol's three health calls, by their names on the wire."""

    __hash__ = str.__hash__  # Enum's own is a call of Python's, in each look-up in a table

    SERVER_LIVE = "ServerLive"
    SERVER_READY = "ServerReady"
    MODEL_READY = "ModelReady"


class Answer(StrEnum):
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


def for_each_answer(table: Mapping[Answer, V]) -> Mapping[Answer, V]:
    """The table, or TypeError at import when an answer has no row in it.

    A table that forgot one would end the daemon at the first such answer.
    """
    missing = ", ".join(answer for answer in Answer if answer not in table)
    if missing:
        raise TypeError(f"the table has no row for {missing}")
    return table


class Check(NamedTuple):
    """One thing that is asked again and again; `model` and `version` only for ModelReady."""

    rpc: Rpc
    model: str = ""
    version: str = ""

    @property
    def name(self) -> str:
        """The name in bodies and paths: `server-live`, `model:bert`, `model:bert:3`."""
        if self.rpc is Rpc.SERVER_LIVE:
            return "server-live"
        if self.rpc is Rpc.SERVER_READY:
            return "server-ready"
        return f"model:{self.model}:{self.version}" if self.version else f"model:{self.model}"


SERVER_LIVE = Check(Rpc.SERVER_LIVE)
SERVER_READY = Check(Rpc.SERVER_READY)


class Observation(NamedTuple):
    """One question's end: which check, which answer, when it came and how long it took.

    `at` is a monotonic time and `took` a duration, both in seconds. `detail`
    is the server's own text; it goes to the log and nowhere else.
    """

    check: Check
    answer: Answer
    at: float
    took: float
    detail: str = ""
