"""Checks on the server, and their results.

Values that are created at every poll are tuples: a frozen dataclass takes more
than twice as long to create, compare and hash.
"""

from enum import StrEnum
from typing import NamedTuple

from sidecar.core.reasons import Reason


class Check(NamedTuple):
    """One check, which is repeated at an interval.

    kind:    the first part of its name, and the key of its probe.
    rpc:     the name of its call in the protocol.
    model, version:  for a check of one model; otherwise empty.
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
    """The check of a model's readiness, of any version or of this one."""
    return Check(MODEL, "ModelReady", model, version)


def canary(model: str, version: str = "") -> Check:
    """The check by an inference on a model, on any version or on this one."""
    return Check(CANARY, "ModelInfer", model, version)


class Payload(StrEnum):
    """The source of a canary's request."""

    GIVEN = "given"  # in the settings or in a file
    BUILT = "built"  # from ModelMetadata
    NONE = "none"  # it could not be built


class Observation(NamedTuple):
    """One result of a check.

    `at` is the monotonic time of the result and `duration` the time that the call took, both
    in seconds. `detail` is the server's own text; it is only logged. For a canary, `payload`
    is the source of its request, `form` describes the inputs of a generated request,
    `pending` is true while there is no reply, and `progress` is true if the model has
    completed other requests meanwhile.
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
