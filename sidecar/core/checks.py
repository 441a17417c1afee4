"""What is asked of the server, and what came back.

The values that are made for every poll are tuples: a frozen dataclass takes
more than twice as long to make, compare and hash, on every poll.
"""

from enum import StrEnum
from typing import NamedTuple

from sidecar.core.reasons import Reason


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
REPOSITORY_INDEX = Check("repository", "RepositoryIndex")
MODEL = "model"
CANARY = "canary"


def model_ready(model: str, version: str = "") -> Check:
    """The check whether a model is ready, in any version or in this one."""
    return Check(MODEL, "ModelReady", model, version)


def canary(model: str, version: str = "") -> Check:
    """The check whether a model infers, in any version or in this one."""
    return Check(CANARY, "ModelInfer", model, version)


class Payload(StrEnum):
    """Where the request of a canary comes from."""

    GIVEN = "given"  # in the settings or in a file
    BUILT = "built"  # from ModelMetadata
    NONE = "none"  # it could not be built


class Observation(NamedTuple):
    """One result of a check: its reason, when it came and how long it took.

    `at` is a monotonic time and `duration` what the call took, both in seconds. `detail`
    is the server's own text; it goes to the log and nowhere else. Of a canary, `payload`
    says where its request comes from, `form` what the inputs of one that was built are,
    `pending` whether it is still without a reply, and `progress` whether its model finished
    other requests meanwhile.
    """

    check: Check
    reason: Reason
    at: float
    duration: float
    detail: str = ""
    payload: Payload | None = None
    pending: bool = False
    progress: bool = False
    form: str = ""
