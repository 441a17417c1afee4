"""Generates a request from a model's metadata: small, harmless, and different each time."""

import math
from collections.abc import Callable
from typing import Any

from sidecar.client.description import ModelMetadata, TensorMetadata
from sidecar.client.errors import InvalidInput
from sidecar.client.inference.datatypes import DATATYPES, Datatype
from sidecar.client.inference.request import InferRequest
from sidecar.client.inference.tensors import InferInput

MAX_BYTES = 1024 * 1024
TEXT_BYTES = 8  # of one element of BYTES


class CannotBuild(ValueError):
    """No request can be generated; the message has the cause."""


def build(
    metadata: ModelMetadata,
    version: str,
    request_id: str,
    random: Callable[[], float],
    *,
    sequence: bool = False,
) -> InferRequest:
    """Return a request for a model. It differs each time, so that no response cache has the reply.

    Free dimensions become 1. Integers are 0 or 1, because they may be indexes or
    token ids, and BOOL is false: for a model with only such inputs there are few
    different requests, or one. Floats are from 0 to 1, and texts are short.

    random:    returns the next random number from 0 to 1.
    sequence:  the request begins and ends a sequence.

    Raises CannotBuild if the model declares no inputs, an unknown datatype, or
    inputs of more than 1 MiB.
    """
    if not metadata.inputs:
        raise CannotBuild("the model's metadata declares no inputs")
    sizes = [_size(tensor) for tensor in metadata.inputs]
    if sum(sizes) > MAX_BYTES:
        raise CannotBuild(f"its inputs take {sum(sizes)} bytes, more than {MAX_BYTES}")
    parameters: dict[str, Any] = {}
    if sequence:
        parameters = {"sequence_start": True, "sequence_end": True}
        parameters["sequence_id"] = 1 + int(random() * (2**31 - 2))
    request = InferRequest(
        metadata.name,
        [_input(tensor, random) for tensor in metadata.inputs],
        request_id=request_id,
        parameters=parameters,
        model_version=version,
    )
    try:
        request.to_bytes()
    except InvalidInput as error:
        raise CannotBuild(str(error)) from None
    return request


def _size(tensor: TensorMetadata) -> int:
    datatype = DATATYPES.get(tensor.datatype)
    if datatype is None:
        raise CannotBuild(f"input {tensor.name!r} has the unknown datatype {tensor.datatype!r}")
    return math.prod(_shape(tensor)) * (datatype.size or TEXT_BYTES)


def _shape(tensor: TensorMetadata) -> list[int]:
    return [1 if size < 0 else size for size in tensor.shape]


def _input(tensor: TensorMetadata, random: Callable[[], float]) -> InferInput:
    shape, datatype = _shape(tensor), DATATYPES[tensor.datatype]
    given = InferInput(tensor.name, shape, tensor.datatype)
    given.data = [_element(datatype, random) for _ in range(math.prod(shape))]
    return given


def _element(datatype: Datatype, random: Callable[[], float]) -> object:
    if datatype.name == "BOOL":
        return False
    if datatype.name == "BYTES":
        return f"{int(random() * 16**TEXT_BYTES):0{TEXT_BYTES}x}".encode()
    if datatype.code in "efd":
        return random()
    return int(random() * 2)
