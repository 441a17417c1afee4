"""The client's own exceptions, and how their texts show a value.

A call that the server answers with a status other than OK raises
grpc.aio.AioRpcError, which is a grpc.RpcError and is not defined here.
"""

# An error text shows at most this many characters of a value, which may be a whole tensor.
MAX_SHOWN = 60


def shown(value: object) -> str:
    """Return the `repr` of a value, cut after 60 characters.

    Never raises: a value whose `repr` fails is shown by the name of its type.
    """
    try:
        text = repr(value[: MAX_SHOWN + 1] if isinstance(value, str | bytes | list) else value)
    except Exception:  # noqa: BLE001 # the repr of a foreign class may raise anything
        return f"a {type(value).__name__}"
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."


class InvalidInput(ValueError):
    """An argument, or the content of a tensor, is not valid.

    If an argument is invalid, nothing has been sent. A response that can be
    parsed but has an invalid tensor raises it too.

    reason:  what was given and what is allowed; also the text of the exception.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unreadable(InvalidInput):
    """Bytes cannot be parsed as the expected protobuf message."""


class InferenceError(RuntimeError):
    """An inference failed: the server sent an error message in a stream, or an array does not fit.

    The arguments are those of KServe's class of the same name, so that
    programs can raise it themselves.

    reason:         what went wrong.
    status:         a status that is shown before the reason, or None.
    debug_details:  anything; it is stored and not shown.
    """

    def __init__(
        self, reason: str, status: str | None = None, debug_details: object = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.debug_details = debug_details

    def __str__(self) -> str:
        return f"[{self.status}] {self.reason}" if self.status else self.reason


class UnfitArray(InferenceError, InvalidInput):
    """An array does not have the datatype or the shape of the tensor that it was given to.

    It is an InferenceError, which is what KServe raises in this case, and an
    InvalidInput, like every other invalid value.
    """
