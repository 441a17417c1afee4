"""Tensors as numpy arrays. Only this module knows numpy, and imports it when it is needed."""

import importlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from sidecar.client.errors import InvalidInput, shown
from sidecar.client.inference import datatypes
from sidecar.client.inference.datatypes import Datatype
from sidecar.client.wire import Buffer

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

LITTLE_ENDIAN = sys.byteorder == "little"

# Below so many bytes a copy takes less time than a view.
WORTH_A_VIEW = 32 * 1024

EXTRA = "inference-health-sidecar[infer]"

# The dtype of each datatype that has one everywhere: BF16 has one only by ml_dtypes.
DTYPES = {
    "BOOL": "?",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}

# numpy's kinds of dtype: bytes, text, objects and moments; and whatever others made.
BYTES_KINDS = "SUOM"
FOREIGN_KIND = "V"

DATATYPE_OF = {("b", 1): "BOOL"} | {
    (dtype[1], int(dtype[2:])): name for name, dtype in DTYPES.items() if name != "BOOL"
}


def is_array(value: object) -> "TypeGuard[Array]":
    """Whether this is an array; whoever has one has imported numpy."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def is_masked(value: object) -> bool:
    """Whether this is a masked array, or the one masked element of numpy's."""
    return isinstance(value, _masked_array())


def check(array: object, datatype: str, shape: Sequence[int]) -> None:
    """InvalidInput when it is no array of this datatype and shape."""
    if not is_array(array):
        raise InvalidInput(f"{type(array).__name__} is not a numpy array")
    if is_masked(array):
        raise InvalidInput("a masked array cannot be sent; array.filled(value) can")
    if datatype_of(array, datatype) != datatype:
        raise InvalidInput(f"an array of {array.dtype} is not {datatype}")
    datatypes.count(shape)
    if array.shape != tuple(shape):
        raise InvalidInput(
            f"an array of shape {list(array.shape)} where {shown(shape)} is expected"
        )


def check_elements(values: Sequence[object]) -> None:
    """InvalidInput when a masked array, or a masked element, is among the elements of a list."""
    masked = _masked_array()
    if masked and any(issubclass(kind, masked) for kind in set(map(type, values))):
        number = next(n for n, value in enumerate(values) if isinstance(value, masked))
        raise InvalidInput(f"element {number} is masked, and cannot be sent")


def from_raw(datatype: Datatype, raw: Buffer) -> "Array":
    """A flat, read-only array, over the same bytes except for BOOL; not for BYTES.

    The bytes are a whole number of elements. BF16 is ml_dtypes.bfloat16 where
    that package is installed, else uint16 with the same bits.
    """
    numpy = _numpy()
    if datatype.name == "BOOL":
        # A byte other than 0 and 1 would make numpy count wrong.
        array: Array = numpy.not_equal(numpy.frombuffer(raw, "u1"), 0)
        array.flags.writeable = False
    else:
        array = numpy.frombuffer(raw, _dtype(datatype.name))
    return array


def from_elements(elements: Sequence[object]) -> "Array":
    """A flat array of objects."""
    array: Array = _numpy().empty(len(elements), dtype=object)
    array[:] = elements
    return array


def to_raw(array: "Array") -> Buffer:
    """The array's elements in the protocol's raw form; a view where they are in it already."""
    if array.dtype.kind in BYTES_KINDS:
        return datatypes.join(to_elements(array))
    if array.nbytes < WORTH_A_VIEW:
        return copy_raw(array)
    flat = _numpy().ascontiguousarray(_little_endian(array)).reshape(-1)
    return memoryview(flat.view("u1"))


def copy_raw(array: "Array") -> bytes:
    """The array's elements in the protocol's raw form, of their own."""
    return _little_endian(array).tobytes()


def _little_endian(array: "Array") -> "Array":
    return array if array.dtype.isnative is LITTLE_ENDIAN else array.byteswap()


def to_elements(array: "Array") -> list[bytes]:
    """The elements of an array of bytes, text, moments or objects that are such, row by row."""
    if array.dtype.kind == "M":
        array = array.astype("U")
    return datatypes.to_bytes(_numpy().asarray(array).reshape(-1).tolist())


def datatype_of(array: "Array", wanted: str) -> str | None:
    """The datatype that an array is; uint16 passes for BF16 where that is wanted."""
    dtype = array.dtype
    if dtype.kind in BYTES_KINDS:
        return "BYTES"
    if dtype.kind == FOREIGN_KIND:
        return "BF16" if dtype.name == "bfloat16" else None
    name = DATATYPE_OF.get((dtype.kind, dtype.itemsize))
    return wanted if (wanted, name) == ("BF16", "UINT16") else name


def _dtype(name: str) -> Any:
    if name != "BF16":
        return DTYPES[name]
    try:
        return importlib.import_module("ml_dtypes").bfloat16
    except ImportError:
        return "<u2"


def _masked_array() -> Any:
    """The class of masked arrays, for isinstance(); whoever has one has imported it."""
    return getattr(sys.modules.get("numpy.ma"), "MaskedArray", ())


def _numpy() -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        return numpy
    try:
        return importlib.import_module("numpy")
    except ImportError:
        raise ImportError(f"arrays need numpy: pip install '{EXTRA}'") from None
