"""A request that is built from a model's metadata: small, harmless, and another one each time."""

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
    """There is no request; the message says why."""


def build(
    metadata: ModelMetadata,
    version: str,
    request_id: str,
    random: Callable[[], float],
    *,
    sequence: bool = False,
) -> InferRequest:
    """The request for a model, which differs each time so that no response cache has its reply.

    Free dimensions become 1. Integers are 0 or 1, because they may be indexes or
    token ids, and BOOL is false: a model that takes nothing else has few
    different requests, and one that takes only BOOL has a single one. Floats are
    from 0 to 1, text is short.

    random:    the next random number from 0 to 1.
    sequence:  it is a sequence of its own, begun and ended.

    CannotBuild when the model declares no inputs, or what it declares takes more
    than 1 MiB or a datatype that is unknown.
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
