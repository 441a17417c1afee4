"""The gRPC form of tensors: either all of a message's tensors are raw bytes, or each is typed."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from sidecar.client import datatypes, parameters, wire
from sidecar.client.datatypes import Buffer
from sidecar.client.errors import InvalidInput
from sidecar.client.tensors import Tensor
from sidecar.oip import messages

T = TypeVar("T", bound=Tensor)
M = TypeVar(
    "M",
    messages.ModelInferRequest.InferInputTensor,
    messages.ModelInferResponse.InferOutputTensor,
)


def write(kind: type[M], tensors: Iterable[Tensor], *, raw: bool) -> tuple[list[M], list[Buffer]]:
    """The tensors' messages, and their raw bytes if these are wanted or one of them has only such.

    The tensors stay as they are; InvalidInput names the one that cannot be sent.
    """
    tensors = list(tensors)
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise InvalidInput(f"given {type(tensor).__name__} where a tensor is expected")
    if raw or any(tensor.is_raw for tensor in tensors):
        raws = [tensor.to_raw() for tensor in tensors]
        return [_message(kind, tensor) for tensor in tensors], raws
    return [_message(kind, tensor, contents=_contents(tensor)) for tensor in tensors], []


def read(
    kind: type[T],
    tensors: Sequence[Any],
    raws: Sequence[Buffer],
) -> list[T]:
    """The tensors of a message and of its raw bytes; InvalidInput names the one that is no good."""
    if raws and len(raws) != len(tensors):
        names = ", ".join(repr(message.name) for message in tensors)
        raise InvalidInput(f"{len(raws)} raw entries for {len(tensors)} tensors ({names})")
    return [
        _read(kind, message, raws[number] if raws else None)
        for number, message in enumerate(tensors)
    ]


def _message(kind: type[M], tensor: Tensor, **contents: messages.InferTensorContents) -> M:
    return wire.build(
        kind,
        name=tensor.name,
        datatype=tensor.datatype,
        shape=tensor.shape,
        parameters=parameters.to_grpc(tensor.parameters),
        **contents,
    )


def _contents(tensor: Tensor) -> messages.InferTensorContents:
    values = tensor.to_list()
    with tensor.named():
        datatype = datatypes.find(tensor.datatype)
        if datatype.size is None:
            return messages.InferTensorContents(bytes_contents=datatypes.to_bytes(values))
        # Protobuf knows neither 8 nor 16 bits, and makes an infinity of 1e39.
        datatypes.encode(datatype, values)
        return messages.InferTensorContents(**{str(datatype.field): values})


def _read(kind: type[T], message: Any, raw: Buffer | None) -> T:
    tensor = kind(
        message.name,
        list(message.shape),
        message.datatype,
        parameters=parameters.from_grpc(message.parameters),
    )
    with tensor.named():
        values = _values(tensor.datatype, message.contents)
    if raw is None:
        # Without elements a tensor is empty by its shape, or they are elsewhere.
        tensor.data = [] if values is None and 0 in tensor.shape else values
        if values is not None:
            tensor.to_list()
    elif values is None:
        tensor.set_raw(raw)
    else:
        raise InvalidInput(f"tensor {tensor.name!r} has contents, and raw bytes too")
    return tensor


def _values(datatype: str, contents: messages.InferTensorContents) -> list[Any] | None:
    """The typed elements; None without any, for some servers send empty contents beside raw."""
    filled = contents.ListFields()
    if not filled:
        return None
    field, values = filled[0]
    known = datatypes.DATATYPES.get(datatype)
    if len(filled) > 1 or (known is not None and field.name != known.field):
        names = " and ".join(field.name for field, _ in filled)
        raise InvalidInput(f"its elements are in {names}, where {datatype} does not belong")
    return list(values)
