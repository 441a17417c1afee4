"""One tensor of a request or a response: a name, a datatype, a shape, and the elements."""

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from sidecar.client import wire
from sidecar.client.errors import InvalidInput, UnfitArray, shown
from sidecar.client.inference import arrays, datatypes
from sidecar.client.inference.datatypes import Datatype
from sidecar.client.inference.parameters import Parameters, WithParameters
from sidecar.client.wire import Buffer

if TYPE_CHECKING:
    from sidecar.client.inference.arrays import Array

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T", bound="Tensor")


def naming(
    call: "Callable[Concatenate[T, P], R]",
) -> "Callable[Concatenate[T, P], R]":
    """Puts the name of the tensor, the first argument, before whatever is wrong with it."""

    @wraps(call)
    def named(tensor: T, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(tensor, *args, **kwargs)
        except InvalidInput as error:
            raise InvalidInput(f"tensor {shown(tensor.name)}: {error.reason}") from None

    return named


class Tensor(WithParameters):
    """A tensor, with KServe's names for everything.

    name:        the model's name for it.
    shape:       how many elements in each dimension; none is negative.
    datatype:    BOOL, INT8 to INT64, UINT8 to UINT64, FP16, BF16, FP32, FP64 or
                 BYTES; upper case is not needed.
    data:        the elements, row by row: a list (of lists, too), or an array.
                 An array, but no masked one, is sent as raw bytes, uncopied.
    parameters:  bool, int, float or str by name.

    Nothing is checked before it is needed: the methods raise InvalidInput that
    names the tensor. Source: the Open Inference Protocol, ModelInferRequest.
    """

    def __init__(
        self,
        name: str,
        shape: Sequence[int],
        datatype: str,
        data: "Sequence[Any] | Array | None" = None,
        parameters: Parameters | None = None,
    ) -> None:
        if not isinstance(datatype, str):
            raise InvalidInput(f"tensor {shown(name)}: datatype {shown(datatype)} is not a str")
        self._name = name
        self._datatype = datatype.upper()
        self.shape = shape
        self.parameters = parameters
        self._data = data
        self._raw_data: Buffer | None = None
        self._binary = False

    @property
    def name(self) -> str:
        """The model's name for it."""
        return self._name

    @property
    def datatype(self) -> str:
        """The protocol's name of the datatype."""
        return self._datatype

    @property
    @naming
    def data(self) -> Any:
        """The elements as they were given; a flat list of Python's own values if they came raw.

        Of raw bytes each reading makes a new list. None when there are no elements.
        """
        return self._data if self._raw_data is None else self._values()

    @data.setter
    def data(self, data: "Sequence[Any] | Array | None") -> None:
        self._data, self._raw_data, self._binary = data, None, False

    @naming
    def as_numpy(self) -> "Array":
        """The elements as an array of this tensor's shape; ImportError without numpy.

        BYTES come as an array of objects: bytes, or whatever the list held.
        BF16 is ml_dtypes.bfloat16 where that package is installed, else uint16
        with the same bits. What came raw is read-only and, but for BOOL and
        BYTES, not copied; everything else is a copy of the caller's own.
        """
        datatype = datatypes.find(self._datatype)
        if datatype.size is None:
            array = arrays.from_elements(self._values())
        else:
            array = arrays.from_raw(datatype, self._raw(datatype))
            array = array if self._raw_data is not None else array.copy()
        try:
            return array.reshape(self.shape)
        except ValueError as error:  # numpy has bounds of its own
            raise InvalidInput(f"shape {shown(self.shape)} is none for numpy: {error}") from None

    def set_data_from_numpy(self, input_tensor: "Array", binary_data: bool = True) -> None:
        """Takes, and copies, the elements of an array of this tensor's datatype and shape.

        `binary_data` says whether they are sent as raw bytes or as a list of values, BYTES then as
        text. UnfitArray, both an InferenceError and InvalidInput, when the array does not fit.
        """
        try:
            arrays.check(input_tensor, self._datatype, self.shape)
            if self._datatype == "BYTES":
                elements = arrays.to_elements(input_tensor)
                self.data = elements if binary_data else datatypes.to_text(elements)
                self._binary = binary_data
            elif binary_data:
                self._data, self._raw_data = None, arrays.copy_raw(input_tensor)
            else:
                raw = arrays.copy_raw(input_tensor)
                self.data = datatypes.decode(datatypes.find(self._datatype), raw)
        except InvalidInput as error:
            raise UnfitArray(f"tensor {shown(self._name)}: {error.reason}") from None

    @naming
    def as_string(self) -> list[str]:
        """The elements of a BYTES tensor as text, in one flat list; InvalidInput if not UTF-8."""
        if self._datatype != "BYTES":
            raise InvalidInput(f"{self._datatype} is not text; as_string() is for BYTES")
        return datatypes.to_text(self._values())

    def to_dict(self) -> dict[str, Any]:
        """Everything that it holds, by name."""
        return {
            "name": self._name,
            "shape": self.shape,
            "datatype": self._datatype,
            "data": self.data,
            "parameters": self.parameters,
        }

    @property
    def is_raw(self) -> bool:
        """Whether its elements came as raw bytes, are meant to go so, or can only go so."""
        datatype = datatypes.DATATYPES.get(self._datatype)
        raw_only = datatype is not None and datatype.field is None
        return raw_only or self._binary or self._raw_data is not None or arrays.is_array(self._data)

    @naming
    def set_raw(self, raw: Buffer) -> None:
        """Takes the elements as the protocol's raw bytes, which are not copied."""
        if not isinstance(raw, bytes | bytearray | memoryview):
            raise InvalidInput(f"raw data of type {type(raw).__name__} is not bytes")
        raw = wire.flat(raw)
        datatypes.check_size(len(raw), self._datatype, self.shape)
        self._data, self._raw_data = None, raw

    @naming
    def to_raw(self) -> Buffer:
        """The elements as the protocol's raw bytes, as many as the shape says."""
        return self._raw(datatypes.find(self._datatype))

    @naming
    def to_list(self) -> Sequence[Any]:
        """The elements as a flat list, as many as the shape says."""
        return self._values()

    def _raw(self, datatype: Datatype) -> Buffer:
        if self._raw_data is not None:
            if datatype.size is None:
                self._values()
            datatypes.check_size(len(self._raw_data), self._datatype, self.shape)
            return self._raw_data
        if arrays.is_array(self._data):
            arrays.check(self._data, self._datatype, self.shape)
            return arrays.to_raw(self._data)
        return datatypes.encode(datatype, self._values())

    def _values(self) -> Sequence[Any]:
        """The elements as a flat list of as many as the shape says."""
        if self._raw_data is not None:
            datatype = datatypes.find(self._datatype)
            values: Sequence[Any] = datatypes.decode(datatype, self._raw_data)
        elif arrays.is_array(self._data):
            arrays.check(self._data, self._datatype, self.shape)
            as_bytes = self._datatype == "BYTES"
            values = arrays.to_elements(self._data) if as_bytes else self._data.ravel().tolist()
        elif isinstance(self._data, list | tuple):
            values = datatypes.flatten(self._data)
            arrays.check_elements(values)
        elif self._data is None:
            raise InvalidInput("it has no data")
        else:
            kind = f"{type(self._data).__module__}.{type(self._data).__name__}"
            raise InvalidInput(f"its data is of type {kind}; a list or a numpy array is expected")
        datatypes.check_count(len(values), self.shape)
        return values

    def _identity(self) -> tuple[Any, ...]:
        try:
            shape: Any = list(self.shape)
            content: Any = bytes(self.to_raw())
        except (InvalidInput, TypeError):
            # What cannot be sent is equal to what holds the same.
            shape, content = self.shape, self._data
            if arrays.is_array(content):
                content = content.dtype, content.tolist()
        return self._name, self._datatype, shape, self._compared(), content

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self._identity() == other._identity()

    __hash__ = None  # type: ignore[assignment] # it can change

    def __getstate__(self) -> dict[str, Any]:
        raw = self._raw_data
        return {**self.__dict__, "_raw_data": None if raw is None else bytes(raw)}

    def __repr__(self) -> str:
        name, datatype, shape = map(shown, (self._name, self._datatype, self.shape))
        return f"{type(self).__name__}(name={name}, datatype={datatype}, shape={shape})"


class InferInput(Tensor):
    """A tensor of a request."""


class InferOutput(Tensor):
    """A tensor of a response."""


def checked(tensors: Iterable[T]) -> list[T]:
    """The tensors as a list, or InvalidInput when one of them is none."""
    try:
        listed = list(tensors)
    except TypeError:
        kind = type(tensors).__name__
        raise InvalidInput(f"given {kind}; a list of tensors is expected") from None
    for tensor in listed:
        if not isinstance(tensor, Tensor):
            raise InvalidInput(f"given {type(tensor).__name__} where a tensor is expected")
    return listed
