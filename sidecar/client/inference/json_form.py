"""Tensors in the V2 JSON format of the REST protocol, without its binary extension.

Source: the Open Inference Protocol's REST definition, "inference request JSON
object" and "inference response JSON object".
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from sidecar.client.errors import InvalidInput
from sidecar.client.inference import datatypes, elements, parameters
from sidecar.client.inference.datatypes import Datatype
from sidecar.client.inference.naming import naming
from sidecar.client.inference.parameters import Parameters
from sidecar.client.inference.tensors import Tensor, checked

T = TypeVar("T", bound=Tensor)

# A JSON object: parsed, or as JSON.
Body = Mapping[str, Any] | bytes | str

# The parameter of the binary extension: the tensor's number of bytes after the JSON.
BINARY_SIZE = "binary_data_size"


def write(tensors: Iterable[Tensor]) -> list[dict[str, Any]]:
    """Return the tensors as JSON objects.

    Raises InvalidInput, which names the tensor, if one is not valid, is FP16 or
    BF16, or is BYTES and not UTF-8.
    """
    return [_write(tensor, tensor.to_list()) for tensor in checked(tensors)]


@naming
def _write(tensor: Tensor, values: Sequence[Any]) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": list(map(int, tensor.shape)),
        "datatype": tensor.datatype,
        **with_parameters(tensor.parameters),
        "data": _data(datatypes.find(tensor.datatype), values),
    }


def with_parameters(given: Parameters | None) -> dict[str, Any]:
    """Return a dict with the member `parameters`, or an empty one if there are none.

    Raises InvalidInput if a parameter is not valid.
    """
    return {"parameters": parameters.plain(given)} if given else {}


def _data(datatype: Datatype, values: Sequence[Any]) -> list[Any]:
    if datatype.field is None:
        raise InvalidInput(f"{datatype.name} has no JSON form")
    if datatype.size is None:
        return elements.to_text(values)
    return list(elements.plain(datatype, values))


def parse(body: Body) -> Mapping[str, Any]:
    """Return the JSON object of a body, which is JSON in bytes or str, or is parsed already.

    Raises InvalidInput if the body is not a JSON object.
    """
    if isinstance(body, bytes | str):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"the body is not JSON: {error}") from None
    if not isinstance(body, Mapping):
        raise InvalidInput(f"given {type(body).__name__}; a JSON object is expected")
    return body


def text(document: Mapping[str, Any], member: str) -> str | None:
    """Return a member that is a str, or None if it is missing; InvalidInput for another type."""
    value = document.get(member)
    if value is not None and not isinstance(value, str):
        raise InvalidInput(f"{member} is {type(value).__name__}, text is expected")
    return value


def objects(document: Mapping[str, Any], member: str) -> list[Mapping[str, Any]]:
    """Return a member that is a list of objects with names; an empty list if it is missing.

    Raises InvalidInput if it is anything else.
    """
    found = document.get(member)
    found = [] if found is None else found
    if not isinstance(found, list) or not all(isinstance(item, Mapping) for item in found):
        raise InvalidInput(f"{member} is not a list of objects")
    for item in found:
        if not isinstance(item.get("name"), str):
            raise InvalidInput(f"{member} has an object without a name")
    return found


def read_parameters(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the member `parameters` without those that are null; their types are not checked.

    Raises InvalidInput if it is not an object.
    """
    found = document.get("parameters")
    if found is not None and not isinstance(found, dict):
        raise InvalidInput(f"parameters are {type(found).__name__}, an object is expected")
    return parameters.read(found or {})


def read(kind: type[T], document: Mapping[str, Any], member: str) -> list[T]:
    """Return the tensors of a member.

    kind:    InferInput or InferOutput.
    member:  `inputs` or `outputs`.

    Raises InvalidInput, which names the tensor, if one is not valid.
    """
    return [_read(kind, item) for item in objects(document, member)]


def _read(kind: type[T], item: Mapping[str, Any]) -> T:
    # The types are not checked here, but by the tensor.
    shape, datatype = cast("Sequence[int]", item.get("shape")), cast("str", item.get("datatype"))
    tensor = kind(item["name"], shape, datatype)
    _fill(tensor, item)
    tensor.to_raw()
    return tensor


@naming
def _fill(tensor: Tensor, item: Mapping[str, Any]) -> None:
    tensor.parameters = read_parameters(item)
    if BINARY_SIZE in tensor.parameters:
        raise InvalidInput("the binary extension of the JSON format is not supported")
    if not isinstance(item.get("data"), list):
        raise InvalidInput("it has no list `data`")
    tensor.data = item["data"]
