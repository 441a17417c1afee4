"""One tensor of a request or a response: a name, a datatype, a shape, and the elements."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from sidecar.client.errors import InferenceError, InvalidInput
from sidecar.client.inference import arrays, datatypes
from sidecar.client.inference.datatypes import Datatype
from sidecar.client.inference.parameters import Parameters
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
            raise InvalidInput(f"tensor {tensor.name!r}: {error.reason}") from None

    return named


class Tensor:
    """A tensor, with KServe's names for everything.

    name:        the model's name for it.
    shape:       how many elements in each dimension; none is negative.
    datatype:    BOOL, INT8 to INT64, UINT8 to UINT64, FP16, BF16, FP32, FP64 or
                 BYTES; upper case is not needed.
    data:        the elements, row by row: a list (of lists, too), or an array.
                 An array is sent as raw bytes, and is not copied before.
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
            raise InvalidInput(f"tensor {name!r}: datatype {datatype!r} is not a str")
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
        return self._data if self._raw_data is None else self._decoded()

    @data.setter
    def data(self, data: "Sequence[Any] | Array | None") -> None:
        self._data, self._raw_data, self._binary = data, None, False

    @naming
    def as_numpy(self) -> "Array":
        """The elements as an array of this tensor's shape; ImportError without numpy.

        BYTES come as an array of objects: bytes, or whatever the list held.
        BF16 is ml_dtypes.bfloat16 where that package is installed, else uint16
        with the same bits. What came raw is not copied, and read-only.
        """
        datatype = datatypes.find(self._datatype)
        if datatype.size is None:
            array = arrays.from_elements(self._values())
        else:
            array = arrays.from_raw(datatype, self._raw(datatype))
        return array.reshape(self.shape)

    def set_data_from_numpy(self, input_tensor: "Array", binary_data: bool = True) -> None:
        """Takes the elements of an array of this tensor's datatype and shape.

        They are copied. `binary_data` says whether they are sent as raw bytes
        or as a list of values. Raises InferenceError when the array does not fit.
        """
        try:
            self._check_fit(input_tensor)
            if self._datatype == "BYTES":
                self.data = arrays.to_elements(input_tensor)
                self._binary = binary_data
            elif binary_data:
                self._data, self._raw_data = None, arrays.copy_raw(input_tensor)
            else:
                raw = arrays.copy_raw(input_tensor)
                self.data = datatypes.decode(datatypes.find(self._datatype), raw)
        except InvalidInput as error:
            raise InferenceError(f"tensor {self._name!r}: {error.reason}") from None

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
        self._check_size(raw)
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
            self._check_size(self._raw_data)
            return self._raw_data
        if arrays.is_array(self._data):
            self._check_fit(self._data)
            return arrays.to_raw(self._data)
        return datatypes.encode(datatype, self._values())

    def _values(self) -> Sequence[Any]:
        """The elements as a flat list of as many as the shape says."""
        if self._raw_data is not None:
            values: Sequence[Any] = self._decoded()
        elif arrays.is_array(self._data):
            values = self._data.reshape(-1).tolist()
        elif isinstance(self._data, list | tuple):
            values = datatypes.flatten(self._data)
        elif self._data is None:
            raise InvalidInput("it has no data")
        else:
            raise InvalidInput(f"its data is {type(self._data).__name__}, and no list or array")
        self._check_count(len(values))
        return values

    def _decoded(self) -> list[Any]:
        return datatypes.decode(datatypes.find(self._datatype), self._raw_data or b"")

    def _check_fit(self, array: Any) -> None:
        if not arrays.is_array(array):
            raise InvalidInput(f"{type(array).__name__} is not a numpy array")
        found = arrays.datatype_of(array, self._datatype)
        if found != self._datatype:
            raise InvalidInput(f"an array of {array.dtype} is not {self._datatype}")
        datatypes.count(self.shape)
        if tuple(array.shape) != tuple(self.shape):
            raise InvalidInput(
                f"an array of shape {list(array.shape)} where {list(self.shape)} is expected"
            )

    def _check_count(self, elements: int) -> None:
        wanted = datatypes.count(self.shape)
        if elements != wanted:
            raise InvalidInput(f"{elements} elements; shape {list(self.shape)} takes {wanted}")

    def _check_size(self, raw: Buffer) -> None:
        """Of BYTES only the elements themselves tell, when they are read."""
        datatype = datatypes.DATATYPES.get(self._datatype)
        if datatype is None or datatype.size is None:
            return
        wanted = datatypes.count(self.shape) * datatype.size
        if len(raw) != wanted:
            raise InvalidInput(
                f"{len(raw)} raw bytes; {self._datatype} of shape {list(self.shape)} takes {wanted}"
            )

    def _identity(self) -> tuple[Any, ...]:
        try:
            content: Any = bytes(self.to_raw())
        except InvalidInput:
            content = self._data
        return self._name, self._datatype, list(self.shape), self.parameters or {}, content

    def __eq__(self, other: object) -> bool:
        return isinstance(other, type(self)) and self._identity() == other._identity()

    __hash__ = None  # type: ignore[assignment] # it can change

    def __getstate__(self) -> dict[str, Any]:
        raw = self._raw_data
        return {**self.__dict__, "_raw_data": None if raw is None else bytes(raw)}

    def __repr__(self) -> str:
        kind, shape = type(self).__name__, self.shape
        return f"{kind}(name={self._name!r}, datatype={self._datatype!r}, shape={shape!r})"


class InferInput(Tensor):
    """A tensor of a request."""


class InferOutput(Tensor):
    """A tensor of a response."""
