"""The parameters of requests, responses and tensors: messages to plain Python values and back.

Source: the Open Inference Protocol, InferParameter.
"""

from collections.abc import Mapping, MutableMapping
from typing import Any

from sidecar.client.errors import InvalidInput, shown

# The values that the protocol has, and a mapping of names to them or to InferParameter messages.
Value = bool | int | float | str
Parameters = Mapping[str, Any]

INT64 = range(-(2**63), 2**63)
UINT64 = range(2**64)


def write(field: MutableMapping[str, Any], parameters: Parameters | None) -> None:
    """Write the parameters into a message's map field `parameters`.

    Raises InvalidInput, which names the parameter, if one is not valid.
    """
    for name, value in plain(parameters).items():
        try:
            setattr(field[name], _member(value), value)
        except ValueError:
            raise InvalidInput(f"parameter {shown(name)} cannot be written as UTF-8") from None


def read(field: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain values of a message's map field or of a JSON object, by name.

    A parameter without a value, or with a field that this version does not
    have, is left out.
    """
    if not field:
        return {}
    values = {name: _simple(value) for name, value in field.items()}
    return {name: value for name, value in values.items() if value is not None}


class WithParameters:
    """Base of the classes with an attribute `parameters`.

    InferParameter messages in an assigned mapping are replaced by their plain
    values, and left out if they have none; None, and a dict without messages,
    are stored as they are. The values are validated when they are sent.
    """

    _parameters: Parameters | None

    @property
    def parameters(self) -> Parameters | None:
        """The parameters by name. What was received without parameters has an empty mapping."""
        return self._parameters

    @parameters.setter
    def parameters(self, parameters: Parameters | None) -> None:
        self._parameters = without_messages(parameters)

    def _compared(self) -> Parameters:
        """Return the parameters for comparisons: None is equal to an empty mapping."""
        return without_messages(self._parameters) or {}


def without_messages(parameters: Parameters | None) -> Parameters | None:
    """Return the parameters with plain values for messages; a dict without messages as it is."""
    if isinstance(parameters, dict):
        if not any(map(_is_message, parameters.values())):
            return parameters
    # Another mapping may be a message's map field, which can be neither copied nor pickled.
    elif not isinstance(parameters, Mapping):
        return parameters
    given = {name: (_is_message(value), _simple(value)) for name, value in parameters.items()}
    return {
        name: value for name, (message, value) in given.items() if not (message and value is None)
    }


def plain(parameters: Parameters | None) -> dict[str, Value]:
    """Return the parameters with plain values for messages and numpy scalars.

    Raises InvalidInput if it is not a mapping, a name is not a str, a value is
    not a bool, int, float or str, or an int is not from -2**63 to 2**64 - 1.
    """
    if not parameters:
        return {}
    if not hasattr(parameters, "items"):
        raise InvalidInput(f"parameters are {type(parameters).__name__}; a mapping is expected")
    return {name: _plain(name, value) for name, value in parameters.items()}


def _plain(name: object, value: Any) -> Value:
    value = _simple(value)
    # A numpy scalar. numpy's constant `masked` has no value, although item() returns 0.0.
    if getattr(value, "shape", None) == () and not hasattr(value, "mask"):
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
    """Return the field of InferParameter for this value."""
    if isinstance(value, bool):  # a bool is an int too
        return "bool_param"
    if isinstance(value, int):
        return "int64_param" if value in INT64 else "uint64_param"
    return "double_param" if isinstance(value, float) else "string_param"


def _is_message(value: object) -> bool:
    """Return whether the value is an InferParameter message of any package."""
    return hasattr(value, "WhichOneof")


def _simple(value: Any) -> Any:
    """Return the value in a message, None if it has none; any other object as it is."""
    if not _is_message(value):
        return value
    choice = value.WhichOneof("parameter_choice")
    return None if choice is None else getattr(value, choice)
