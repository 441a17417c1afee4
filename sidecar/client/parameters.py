"""Parameters of requests and tensors: plain Python values on this side of the wire."""

from collections.abc import Mapping
from typing import Any

from sidecar.client.errors import InvalidInput
from sidecar.oip import messages

Value = bool | int | float | str
Parameters = Mapping[str, Any]

INT64 = range(-(2**63), 2**63)
UINT64 = range(2**64)


def to_grpc(parameters: Parameters | None) -> dict[str, messages.InferParameter]:
    """The message of each value; InvalidInput names the parameter that has none."""
    return {_name(name): _message(name, value) for name, value in (parameters or {}).items()}


def from_grpc(parameters: Mapping[str, messages.InferParameter]) -> dict[str, Value] | None:
    """The plain values, None when there is none."""
    return {name: _plain(message) for name, message in parameters.items()} or None


def plain(parameters: Parameters | None) -> dict[str, Value] | None:
    """The same values without the messages that may be among them; None when there is none."""
    return from_grpc(to_grpc(parameters))


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise InvalidInput(f"parameter {name!r}: the name is not a str")
    return name


def _message(name: str, value: Any) -> messages.InferParameter:
    if hasattr(value, "WhichOneof"):  # an InferParameter of any package
        value = _plain(value)
    elif getattr(value, "shape", None) == ():  # a scalar of numpy's
        value = value.item()
    try:
        # A bool is an int too, so it comes first.
        if isinstance(value, bool):
            return messages.InferParameter(bool_param=value)
        if isinstance(value, int) and value in INT64:
            return messages.InferParameter(int64_param=value)
        if isinstance(value, int) and value in UINT64:
            return messages.InferParameter(uint64_param=value)
        if isinstance(value, float):
            return messages.InferParameter(double_param=value)
        if isinstance(value, str):
            return messages.InferParameter(string_param=value)
    except ValueError:
        raise InvalidInput(f"parameter {name!r}: the text cannot be written as UTF-8") from None
    raise InvalidInput(
        f"parameter {name!r}: given {type(value).__name__}; allowed: bool, float, str,"
        " and int from -2**63 to 2**64 - 1"
    )


def _plain(message: Any) -> Any:
    choice = message.WhichOneof("parameter_choice")
    return None if choice is None else getattr(message, choice)
