"""One tensor of a request or a response: its name, datatype, shape and elements."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sidecar.client import wire
from sidecar.client.errors import InvalidInput, UnfitArray, shown
from sidecar.client.inference import arrays, datatypes, elements, shapes
from sidecar.client.inference.datatypes import Datatype
from sidecar.client.inference.naming import naming
from sidecar.client.inference.parameters import Parameters, WithParameters
from sidecar.client.wire import Buffer

if TYPE_CHECKING:
    from sidecar.client.inference.arrays import Array

T = TypeVar("T", bound="Tensor")


class Tensor(WithParameters):
    """A tensor. Names and arguments are those of KServe's classes.

    name:        the model's name for it.
    shape:       the size of each dimension, 0 or more; an empty list for a scalar.
    datatype:    BOOL, INT8 to INT64, UINT8 to UINT64, FP16, BF16, FP32, FP64 or
                 BYTES, in upper or lower case.
    data:        the elements in row-major order: a list, nested lists, or a
                 numpy array, which is sent as raw bytes without being copied.
    parameters:  bool, int, float or str by name.

    The constructor raises InvalidInput only if the datatype is not a str.
    Everything else is checked by the methods, which raise InvalidInput with the
    tensor's name. Source: the Open Inference Protocol, ModelInferRequest and
    ModelInferResponse.
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
        """The model's name for the tensor."""
        return self._name

    @property
    def datatype(self) -> str:
        """The protocol's name of the datatype, in upper case."""
        return self._datatype

    @property
    @naming
    def data(self) -> Any:
        """The elements as they were given; for raw bytes a flat list of Python values.

        None if there are none. For raw bytes each access makes a new list, and
        raises InvalidInput if they do not fit the datatype and shape.
        """
        return self._data if self._raw_data is None else self._values()

    @data.setter
    def data(self, data: "Sequence[Any] | Array | None") -> None:
        self._data, self._raw_data, self._binary = data, None, False

    @naming
    def as_numpy(self) -> "Array":
        """Return the elements as a numpy array of this tensor's shape.

        BYTES is an array of objects: bytes, or those of the list that was given.
        BF16 is ml_dtypes.bfloat16 if that package is installed, otherwise uint16
        with the same bits. The array of raw bytes is read-only and not copied,
        except for BOOL and BYTES; other data is copied.

        Raises ImportError if numpy is not installed, and InvalidInput if the
        elements do not fit the datatype and shape.
        """
        datatype = datatypes.find(self._datatype)
        if datatype.size is None:
            array = arrays.from_objects(self._values())
        else:
            array = arrays.from_raw(datatype, self._raw(datatype))
            array = array if self._raw_data is not None else array.copy()
        try:
            return array.reshape(self.shape)
        except ValueError as error:  # numpy has its own limits
            raise InvalidInput(
                f"shape {shown(self.shape)} is not valid in numpy: {error}"
            ) from None

    def set_data_from_numpy(self, input_tensor: "Array", binary_data: bool = True) -> None:
        """Copy the elements of an array into this tensor.

        input_tensor:  an array of this tensor's datatype and shape.
        binary_data:   send raw bytes; otherwise a list of values, for BYTES text.

        Raises UnfitArray, an InferenceError and InvalidInput, if the array has
        another datatype or shape, is masked, or has invalid elements.
        """
        try:
            arrays.check(input_tensor, self._datatype, self.shape)
            if self._datatype == "BYTES":
                values = arrays.to_elements(input_tensor)
                self.data = values if binary_data else elements.to_text(values)
                self._binary = binary_data
            elif binary_data:
                self._data, self._raw_data = None, arrays.copy_raw(input_tensor)
            else:
                raw = arrays.copy_raw(input_tensor)
                self.data = elements.decode(datatypes.find(self._datatype), raw)
        except InvalidInput as error:
            raise UnfitArray(f"tensor {shown(self._name)}: {error.reason}") from None

    @naming
    def as_string(self) -> list[str]:
        """Return the elements of a BYTES tensor as a flat list of str.

        Raises InvalidInput for another datatype, or if an element is not UTF-8.
        """
        if self._datatype != "BYTES":
            raise InvalidInput(f"{self._datatype} is not text; as_string() is for BYTES")
        return elements.to_text(self._values())

    def to_dict(self) -> dict[str, Any]:
        """Return name, shape, datatype, data and parameters, by name."""
        return {
            "name": self._name,
            "shape": self.shape,
            "datatype": self._datatype,
            "data": self.data,
            "parameters": self.parameters,
        }

    @property
    def is_raw(self) -> bool:
        """Whether the elements were received as raw bytes, or will be sent as raw bytes."""
        datatype = datatypes.DATATYPES.get(self._datatype)
        raw_only = datatype is not None and datatype.field is None
        return raw_only or self._binary or self._raw_data is not None or arrays.is_array(self._data)

    @naming
    def set_raw(self, raw: Buffer) -> None:
        """Set the elements to the protocol's raw bytes, which are not copied.

        Raises InvalidInput if it is not bytes-like, or not of the right length.
        """
        if not isinstance(raw, Buffer):
            raise InvalidInput(f"raw data of type {type(raw).__name__} is not bytes")
        raw = wire.flat(raw)
        shapes.check_size(len(raw), self._datatype, self.shape)
        self._data, self._raw_data = None, raw

    @naming
    def to_raw(self) -> Buffer:
        """Return the elements as raw bytes. Raises InvalidInput if they do not fit the shape."""
        return self._raw(datatypes.find(self._datatype))

    @naming
    def to_list(self) -> Sequence[Any]:
        """Return the elements as a flat list. Raises InvalidInput if they do not fit the shape."""
        return self._values()

    def _raw(self, datatype: Datatype) -> Buffer:
        if self._raw_data is not None:
            if datatype.size is None:
                self._values()
            shapes.check_size(len(self._raw_data), self._datatype, self.shape)
            return self._raw_data
        if arrays.is_array(self._data):
            arrays.check(self._data, self._datatype, self.shape)
            return arrays.to_raw(self._data)
        return elements.encode(datatype, self._values())

    def _values(self) -> Sequence[Any]:
        """Return the elements as a flat list, after checking their number."""
        if self._raw_data is not None:
            datatype = datatypes.find(self._datatype)
            values: Sequence[Any] = elements.decode(datatype, self._raw_data)
        elif arrays.is_array(self._data):
            arrays.check(self._data, self._datatype, self.shape)
            as_bytes = self._datatype == "BYTES"
            values = arrays.to_elements(self._data) if as_bytes else self._data.ravel().tolist()
        elif isinstance(self._data, list | tuple):
            values = shapes.flatten(self._data)
            arrays.check_elements(values)
        elif self._data is None:
            raise InvalidInput("it has no data")
        else:
            kind = f"{type(self._data).__module__}.{type(self._data).__name__}"
            raise InvalidInput(f"its data is of type {kind}; a list or a numpy array is expected")
        shapes.check_count(len(values), self.shape)
        return values

    def _identity(self) -> tuple[Any, ...]:
        try:
            shape: Any = list(self.shape)
            content: Any = bytes(self.to_raw())
        except (InvalidInput, TypeError):
            # Tensors that cannot be sent are equal if their data is equal.
            shape, content = self.shape, self._data
            if arrays.is_array(content):
                content = content.dtype, content.tolist()
        return self._name, self._datatype, shape, self._compared(), content

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self._identity() == other._identity()

    __hash__ = None  # type: ignore[assignment] # it is mutable

    def __getstate__(self) -> dict[str, Any]:
        raw = self._raw_data
        return {**self.__dict__, "_raw_data": None if raw is None else bytes(raw)}

    def __repr__(self) -> str:
        name, datatype, shape = map(shown, (self._name, self._datatype, self.shape))
        return f"{type(self).__name__}(name={name}, datatype={datatype}, shape={shape})"


class InferInput(Tensor):
    """An input tensor, of a request."""


class InferOutput(Tensor):
    """An output tensor, of a response."""


def checked(tensors: Iterable[T]) -> list[T]:
    """Return the tensors as a list. Raises InvalidInput if one of them is not a Tensor."""
    try:
        listed = list(tensors)
    except TypeError:
        kind = type(tensors).__name__
        raise InvalidInput(f"given {kind}; a list of tensors is expected") from None
    for tensor in listed:
        if not isinstance(tensor, Tensor):
            raise InvalidInput(f"given {type(tensor).__name__} where a tensor is expected")
    return listed
