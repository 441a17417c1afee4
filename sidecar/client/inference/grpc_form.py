"""Tensors in protobuf messages: all of them as raw bytes, or all of them as typed contents.

Source: the Open Inference Protocol, ModelInferRequest and ModelInferResponse.
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from sidecar.client import protobuf
from sidecar.client.errors import InvalidInput
from sidecar.client.inference import datatypes, elements, parameters
from sidecar.client.inference.naming import naming
from sidecar.client.inference.tensors import Tensor, checked
from sidecar.client.wire import Buffer
from sidecar.oip import messages

T = TypeVar("T", bound=Tensor)


def write(field: Any, tensors: Sequence[Tensor], *, raw: bool) -> list[Buffer]:
    """Append the tensors to a message's repeated field, and return their raw bytes.

    field:    `inputs` of a request message or `outputs` of a response message.
    tensors:  they are not changed.
    raw:      send raw bytes. If a tensor has no other form, raw bytes are sent
              anyway.

    The caller has to add the returned bytes to the message, one entry for each
    tensor; the list is empty if the tensors are typed. Raises InvalidInput,
    which names the tensor, if one is not valid.
    """
    tensors = checked(tensors)
    raw = raw or any(tensor.is_raw for tensor in tensors)
    raws = []
    for tensor in tensors:
        message = _add(tensor, field)
        if raw:
            raws.append(tensor.to_raw())
        else:
            _write_typed(tensor, tensor.to_list(), message.contents)
        message.shape.extend(map(int, tensor.shape))
    return raws


@naming
def _add(tensor: Tensor, field: Any) -> Any:
    message = protobuf.add(field, name=tensor.name, datatype=tensor.datatype)
    parameters.write(message.parameters, tensor.parameters)
    return message


@naming
def _write_typed(
    tensor: Tensor, values: Sequence[Any], contents: messages.InferTensorContents
) -> None:
    datatype = datatypes.find(tensor.datatype)
    if datatype.size is None:
        contents.bytes_contents.extend(elements.to_bytes(values))
    else:
        # Protobuf does not check ranges of 8 and 16 bits, and stores 1e39 as an FP32 infinity.
        getattr(contents, str(datatype.field)).extend(elements.plain(datatype, values))
    contents.SetInParent()  # an empty tensor has the field `contents` too


def give_raw(tensors: Sequence[Tensor], raws: Iterable[Buffer | None] | None) -> None:
    """Set the raw bytes of each tensor.

    raws:  one entry for each tensor, in order; None as an entry leaves the
           tensor's data as it is. None or an empty list changes nothing.

    Raises InvalidInput if there are more or fewer entries than tensors, or if
    the bytes do not fit a tensor.
    """
    if raws is None:
        return
    raws = list(raws)
    if raws and len(raws) != len(checked(tensors)):
        raise InvalidInput(f"{len(raws)} raw entries for {len(tensors)} tensors: {tensors!r}")
    for tensor, raw in zip(tensors, raws, strict=False):
        if raw is not None:
            tensor.set_raw(raw)


def read(kind: type[T], tensors: Sequence[Any], raws: Sequence[Buffer]) -> list[T]:
    """Return the tensors of a message.

    kind:     InferInput or InferOutput.
    tensors:  the tensors in the message.
    raws:     their raw bytes, in order; empty if the tensors are typed.

    Raises InvalidInput, which names the tensors, if the number of raw entries
    is wrong or a tensor is not valid.
    """
    if not raws:
        return [_read(kind, message, None) for message in tensors]
    if len(raws) != len(tensors):
        names = ", ".join(repr(message.name) for message in tensors)
        raise InvalidInput(f"{len(raws)} raw entries for {len(tensors)} tensors ({names})")
    return [_read(kind, *pair) for pair in zip(tensors, raws, strict=True)]


def _read(kind: type[T], message: Any, raw: Buffer | None) -> T:
    tensor = kind(
        message.name,
        message.shape[:],  # a list, in a third of the time that list() takes
        message.datatype,
        parameters=parameters.read(message.parameters),
    )
    values = _values(tensor, message.contents, raw) if message.HasField("contents") else None
    if raw is not None:
        tensor.set_raw(raw)
        return tensor
    # Without elements the tensor is empty, or they were sent in another way: then data is None.
    tensor.data = [] if values is None and 0 in tensor.shape else values
    if values is not None:
        tensor.to_list()
    return tensor


@naming
def _values(
    tensor: Tensor, contents: messages.InferTensorContents, raw: Buffer | None
) -> list[Any] | None:
    """Return the typed elements, or None if there are none.

    Some servers send an empty `contents` besides raw bytes.
    """
    filled = contents.ListFields()
    if not filled:
        return None
    if raw is not None:
        raise InvalidInput("it has contents, and raw bytes too")
    field, values = filled[0]
    datatype = tensor.datatype
    known = datatypes.DATATYPES.get(datatype)
    if len(filled) > 1 or (known is not None and field.name != known.field):
        names = " and ".join(field.name for field, _ in filled)
        raise InvalidInput(f"its elements are in {names}, where {datatype} does not belong")
    return list(values)
