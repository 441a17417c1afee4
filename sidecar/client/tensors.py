"""One tensor of a request or a response: a name, a datatype, a shape, and the elements."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sidecar.client import arrays, datatypes
from sidecar.client.datatypes import Buffer, Datatype
from sidecar.client.errors import InferenceError, InvalidInput
from sidecar.client.parameters import Parameters

if TYPE_CHECKING:
    from sidecar.client.arrays import Array


class _Named:
    """As contextlib would make it, in a third of its time; each small tensor pays for it."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, InvalidInput):
            raise InvalidInput(f"tensor {self._name!r}: {error.reason}") from None


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
    def data(self) -> Any:
        """The elements as they were given; a flat list of Python's own values if they came raw.

        Of raw bytes each reading makes a new list. None when there are no elements.
        """
        if self._raw_data is None:
            return self._data
        with self.named():
            return datatypes.decode(datatypes.find(self._datatype), self._raw_data)

    @data.setter
    def data(self, data: "Sequence[Any] | Array | None") -> None:
        self._data, self._raw_data, self._binary = data, None, False

    def as_numpy(self) -> "Array":
        """The elements as an array of this tensor's shape; ImportError without numpy.

        BYTES come as an array of objects: bytes, or whatever the list held.
        BF16 is ml_dtypes.bfloat16 where that package is installed, else uint16
        with the same bits. What came raw is not copied, and read-only.
        """
        with self.named():
            datatype = datatypes.find(self._datatype)
            if datatype.size is None and self._raw_data is None:
                array = arrays.from_elements(self._values())
            else:
                array = arrays.from_raw(datatype, self._raw(datatype))
            self._check_count(len(array))
            return array.reshape(self.shape)

    def set_data_from_numpy(self, input_tensor: "Array", binary_data: bool = True) -> None:
        """Takes the elements of an array of this tensor's datatype and shape.

        They are copied. `binary_data` says whether they are sent as raw bytes
        or as a list of values. Raises InferenceError when the array does not fit.
        """
        if not arrays.is_array(input_tensor):
            kind = type(input_tensor).__name__
            raise InferenceError(f"tensor {self._name!r}: {kind} is not a numpy array")
        try:
            self._check_fit(input_tensor)
            if self._datatype == "BYTES":
                self.data = arrays.to_elements(input_tensor)
                self._binary = binary_data
            elif binary_data:
                self.data = None
                self._raw_data = arrays.copy_raw(input_tensor)
            else:
                raw = arrays.copy_raw(input_tensor)
                self.data = datatypes.decode(datatypes.find(self._datatype), raw)
        except InvalidInput as error:
            raise InferenceError(f"tensor {self._name!r}: {error.reason}") from None

    def as_string(self) -> list[str]:
        """The elements of a BYTES tensor as text, in one flat list; InvalidInput if not UTF-8."""
        with self.named():
            if self._datatype != "BYTES":
                raise InvalidInput(f"{self._datatype} is not text; as_string() is for BYTES")
            elements = datatypes.to_bytes(self._values())
            try:
                return [element.decode() for element in elements]
            except UnicodeDecodeError as error:
                raise InvalidInput(f"{error.object!r:.60} is not UTF-8") from None

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
        given_raw = self._raw_data is not None or arrays.is_array(self._data)
        return raw_only or self._binary or given_raw

    def set_raw(self, raw: Buffer) -> None:
        """Takes the elements as the protocol's raw bytes, which are not copied."""
        with self.named():
            if not isinstance(raw, bytes | bytearray | memoryview):
                raise InvalidInput(f"raw data of type {type(raw).__name__} is not bytes")
            self.data = None
            self._raw_data = raw
            self._check_size(raw)

    def to_raw(self) -> Buffer:
        """The elements as the protocol's raw bytes, as many as the shape says."""
        with self.named():
            return self._raw(datatypes.find(self._datatype))

    def to_list(self) -> Sequence[Any]:
        """The elements as a flat list, as many as the shape says."""
        with self.named():
            return self._values()

    def named(self) -> "_Named":
        """A context that puts the tensor's name before whatever is wrong with it."""
        return _Named(self._name)

    def _raw(self, datatype: Datatype) -> Buffer:
        if self._raw_data is not None:
            self._check_size(self._raw_data)
            return self._raw_data
        if arrays.is_array(self._data):
            self._check_fit(self._data)
            return arrays.to_raw(self._data)
        return datatypes.encode(datatype, self._values())

    def _values(self) -> Sequence[Any]:
        """The elements as a flat list of as many as the shape says."""
        if self._raw_data is not None:
            values: Sequence[Any] = self.data
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

    def _check_fit(self, array: Any) -> None:
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


T = TypeVar("T", bound=Tensor)


def by_name(tensors: Iterable[T], name: str) -> T | None:
    """The first tensor of this name, or None."""
    return next((tensor for tensor in tensors if tensor.name == name), None)


def give_raw(tensors: Sequence[Tensor], raws: Sequence[Buffer] | None) -> None:
    """Gives each tensor its raw bytes, if there are any."""
    if not raws:
        return
    if len(raws) != len(tensors):
        raise InvalidInput(f"{len(raws)} raw entries for {len(tensors)} tensors: {tensors!r}")
    for tensor, raw in zip(tensors, raws, strict=True):
        tensor.set_raw(raw)
