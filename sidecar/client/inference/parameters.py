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


def read(field: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of a message's field, or of a JSON object; empty when there is none.

    A parameter without a value, or with one of a kind that is newer than this, is left out.
    """
    if not field:
        return {}
    values = {name: _simple(value) for name, value in field.items()}
    return {name: value for name, value in values.items() if value is not None}


class WithParameters:
    """Whatever has parameters. Messages among them become plain values when they are assigned.

    None, and a dict without messages, stay as they are. Nothing is checked
    before it is sent; a message without a value is left out.
    """

    _parameters: Parameters | None

    @property
    def parameters(self) -> Parameters | None:
        """The parameters by name; what was received without any has an empty mapping."""
        return self._parameters

    @parameters.setter
    def parameters(self, parameters: Parameters | None) -> None:
        self._parameters = without_messages(parameters)

    def _compared(self) -> Parameters:
        """The parameters as they are compared: None is equal to an empty mapping."""
        return without_messages(self._parameters) or {}


def without_messages(parameters: Parameters | None) -> Parameters | None:
    """The parameters with plain values for messages; a dict that has none as it is."""
    if not isinstance(parameters, Mapping):
        return parameters
    # Another mapping may be a message's own, which can be neither copied nor pickled.
    if isinstance(parameters, dict) and not any(map(_is_message, parameters.values())):
        return parameters
    given = {name: (_is_message(value), _simple(value)) for name, value in parameters.items()}
    return {
        name: value for name, (message, value) in given.items() if not (message and value is None)
    }


def plain(parameters: Parameters | None) -> dict[str, Value]:
    """The parameters, with plain values for messages and for scalars of numpy's."""
    if not parameters:
        return {}
    if not hasattr(parameters, "items"):
        raise InvalidInput(f"parameters are {type(parameters).__name__}; a mapping is expected")
    return {name: _plain(name, value) for name, value in parameters.items()}


def _plain(name: object, value: Any) -> Value:
    value = _simple(value)
    # A scalar of numpy's; the masked one has no value, though it looks like 0.0.
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
    """The member of InferParameter that takes it."""
    if isinstance(value, bool):  # is an int, too
        return "bool_param"
    if isinstance(value, int):
        return "int64_param" if value in INT64 else "uint64_param"
    return "double_param" if isinstance(value, float) else "string_param"


def _is_message(value: object) -> bool:
    """Whether it is an InferParameter, of any package."""
    return hasattr(value, "WhichOneof")


def _simple(value: Any) -> Any:
    """What a message holds, None for nothing; anything else as it is."""
    if not _is_message(value):
        return value
    choice = value.WhichOneof("parameter_choice")
    return None if choice is None else getattr(value, choice)
