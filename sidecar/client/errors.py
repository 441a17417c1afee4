"""What a caller may have to catch, besides grpc.RpcError; and how errors show what was given."""

# An error shows no more of a value than this: it may be a whole tensor.
MAX_SHOWN = 60


def shown(value: object) -> str:
    """The beginning of a value's `repr`."""
    try:
        text = repr(value[: MAX_SHOWN + 1] if isinstance(value, str | bytes | list) else value)
    except Exception:  # noqa: BLE001 # a foreign class may raise anything; ours must not
        return f"a {type(value).__name__}"
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."


class InvalidInput(ValueError):
    """Something that cannot be used: an argument, or the content of a tensor.

    `reason` says what was given and what is allowed. When it comes from an
    argument, nothing was sent.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unreadable(InvalidInput):
    """Bytes that are not the message that they should be."""


class InferenceError(RuntimeError):
    """What went wrong with an inference: a stream's own error message, or an UnfitArray.

    `status` and `debug_details` are kept for programs that make such errors
    themselves, as they may with KServe's class.
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
    """An array that does not fit the tensor it is meant for.

    It is the InferenceError that programs written for KServe's types expect,
    and InvalidInput like everything else that cannot be used.
    """
