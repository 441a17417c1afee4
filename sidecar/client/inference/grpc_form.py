"""The gRPC form of tensors: either all of a message's tensors are raw bytes, or each is typed."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from sidecar.client import wire
from sidecar.client.errors import InvalidInput
from sidecar.client.inference import datatypes, parameters
from sidecar.client.inference.tensors import Tensor, checked, naming
from sidecar.client.wire import Buffer
from sidecar.oip import messages

T = TypeVar("T", bound=Tensor)


def write(field: Any, tensors: Sequence[Tensor], *, raw: bool) -> list[Buffer]:
    """Adds the tensors to a message's field; their raw bytes are given back, to be added too.

    They are raw if that is wanted, or if one of them has no other form. The
    tensors stay as they are; InvalidInput names the one that cannot be sent.
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
    message = wire.add(field, name=tensor.name, datatype=tensor.datatype)
    parameters.write(message.parameters, tensor.parameters)
    return message


@naming
def _write_typed(
    tensor: Tensor, values: Sequence[Any], contents: messages.InferTensorContents
) -> None:
    datatype = datatypes.find(tensor.datatype)
    if datatype.size is None:
        contents.bytes_contents.extend(datatypes.to_bytes(values))
    else:
        # Protobuf knows neither 8 nor 16 bits, and makes an infinity of 1e39.
        getattr(contents, str(datatype.field)).extend(datatypes.plain(datatype, values))
    contents.SetInParent()  # an empty tensor has contents, too


def give_raw(tensors: Sequence[Tensor], raws: Iterable[Buffer | None] | None) -> None:
    """Gives each tensor its raw bytes, if there are any; None leaves it its own data."""
    raws = [] if raws is None else list(raws)
    if raws and len(raws) != len(checked(tensors)):
        raise InvalidInput(f"{len(raws)} raw entries for {len(tensors)} tensors: {tensors!r}")
    for tensor, raw in zip(tensors, raws, strict=False):
        if raw is not None:
            tensor.set_raw(raw)


def read(kind: type[T], tensors: Sequence[Any], raws: Sequence[Buffer]) -> list[T]:
    """The tensors of a message and of its raw bytes; InvalidInput names the one that is no good."""
    if not raws:
        return [_read(kind, message, None) for message in tensors]
    if len(raws) != len(tensors):
        names = ", ".join(repr(message.name) for message in tensors)
        raise InvalidInput(f"{len(raws)} raw entries for {len(tensors)} tensors ({names})")
    return [_read(kind, *pair) for pair in zip(tensors, raws, strict=True)]


def _read(kind: type[T], message: Any, raw: Buffer | None) -> T:
    tensor = kind(
        message.name,
        list(message.shape),
        message.datatype,
        parameters=parameters.read(message.parameters),
    )
    values = _values(tensor, message.contents, raw) if message.HasField("contents") else None
    if raw is not None:
        tensor.set_raw(raw)
        return tensor
    # Without elements a tensor is empty by its shape, or they are elsewhere.
    tensor.data = [] if values is None and 0 in tensor.shape else values
    if values is not None:
        tensor.to_list()
    return tensor


@naming
def _values(
    tensor: Tensor, contents: messages.InferTensorContents, raw: Buffer | None
) -> list[Any] | None:
    """The typed elements; None without any, for some servers send empty contents beside raw."""
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
