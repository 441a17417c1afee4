"""Parameters of requests and tensors: plain Python values on this side of the wire."""

from collections.abc import Mapping, MutableMapping
from typing import Any

from sidecar.client.errors import InvalidInput, shown

Value = bool | int | float | str
Parameters = Mapping[str, Any]

INT64 = range(-(2**63), 2**63)
UINT64 = range(2**64)


def write(field: MutableMapping[str, Any], parameters: Parameters | None) -> None:
    """Adds the parameters to a message's field; InvalidInput names the one that cannot be."""
    for name, value in plain(parameters).items():
        try:
            setattr(field[name], _member(value), value)
        except ValueError:
            raise InvalidInput(f"parameter {shown(name)} cannot be written as UTF-8") from None


def read(field: Mapping[str, Any]) -> dict[str, Value] | None:
    """The plain values of a message's field, None when there is none.

    A parameter without a value, or with one of a kind that is newer than this, is left out.
    """
    if not field:
        return None
    values = {name: _value(message) for name, message in field.items()}
    return {name: value for name, value in values.items() if value is not None} or None


def plain(parameters: Parameters | None) -> dict[str, Value]:
    """The parameters, with plain values for messages and for scalars of numpy's."""
    if not parameters:
        return {}
    if not hasattr(parameters, "items"):
        raise InvalidInput(f"parameters are {type(parameters).__name__}; a mapping is expected")
    return {name: _plain(name, value) for name, value in parameters.items()}


def _plain(name: object, value: Any) -> Value:
    if hasattr(value, "WhichOneof"):  # an InferParameter of any package
        value = _value(value)
    elif getattr(value, "shape", None) == ():  # a scalar of numpy's
        value = value.item()
    if not isinstance(name, str):
        raise InvalidInput(f"parameter {shown(name)}: the name is not a str")
    if isinstance(value, int) and value not in INT64 and value not in UINT64:
        raise InvalidInput(f"parameter {shown(name)}: an int is from -2**63 to 2**64 - 1")
    if not isinstance(value, Value):
        kind = type(value).__name__
        raise InvalidInput(f"parameter {shown(name)}: given {kind}; allowed: bool, int, float, str")
    return value


def _member(value: Value) -> str:
    """The member of InferParameter that takes it."""
    if isinstance(value, bool):  # is an int, too
        return "bool_param"
    if isinstance(value, int):
        return "int64_param" if value in INT64 else "uint64_param"
    return "double_param" if isinstance(value, float) else "string_param"


def _value(message: Any) -> Any:
    choice = message.WhichOneof("parameter_choice")
    return None if choice is None else getattr(message, choice)
