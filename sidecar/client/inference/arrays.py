"""Tensors as numpy arrays. Only this module imports numpy, and only when it is needed."""

import importlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from sidecar.client.errors import InvalidInput, shown
from sidecar.client.inference import elements, shapes
from sidecar.client.inference.datatypes import Datatype
from sidecar.client.wire import Buffer

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

LITTLE_ENDIAN = sys.byteorder == "little"

# For fewer bytes than this a copy takes less time than a view.
WORTH_A_VIEW = 32 * 1024

EXTRA = "inference-health-sidecar[infer]"

# numpy's dtype of each datatype. BF16 has one only in the package ml_dtypes.
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

# numpy's kinds of dtype: bytes, text, objects and datetimes; and those that packages define.
BYTES_KINDS = "SUOM"
FOREIGN_KIND = "V"

DATATYPE_OF = {("b", 1): "BOOL"} | {
    (dtype[1], int(dtype[2:])): name for name, dtype in DTYPES.items() if name != "BOOL"
}


def is_array(value: object) -> "TypeGuard[Array]":
    """Return whether the value is a numpy array. Does not import numpy."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def is_masked(value: object) -> bool:
    """Return whether the value is a masked array or numpy's constant `masked`."""
    return isinstance(value, _masked_array())


def check(array: object, datatype: str, shape: Sequence[int]) -> None:
    """Raise InvalidInput if it is not an array of this datatype and shape, or if it is masked.

    An array of uint16 is accepted as BF16.
    """
    if not is_array(array):
        raise InvalidInput(f"{type(array).__name__} is not a numpy array")
    if is_masked(array):
        raise InvalidInput("a masked array cannot be sent; array.filled(value) can")
    if datatype_of(array, datatype) != datatype:
        raise InvalidInput(f"an array of {array.dtype} is not {datatype}")
    shapes.count(shape)
    if array.shape != tuple(shape):
        raise InvalidInput(
            f"an array of shape {list(array.shape)} where {shown(shape)} is expected"
        )


def check_elements(values: Sequence[object]) -> None:
    """Raise InvalidInput if an element of the list is a masked array or a masked element."""
    masked = _masked_array()
    if masked and any(issubclass(kind, masked) for kind in set(map(type, values))):
        number = next(n for n, value in enumerate(values) if isinstance(value, masked))
        raise InvalidInput(f"element {number} is masked, and cannot be sent")


def from_raw(datatype: Datatype, raw: Buffer) -> "Array":
    """Return raw bytes as a flat, read-only array; not for BYTES.

    raw:  a whole number of elements. The array shares this memory, except for
          BOOL.

    BF16 has the dtype ml_dtypes.bfloat16 if that package is installed,
    otherwise uint16 with the same bits. Raises ImportError if numpy is not
    installed.
    """
    numpy = _numpy()
    if datatype.name == "BOOL":
        # In an array of bool numpy expects no byte other than 0 and 1.
        array: Array = numpy.not_equal(numpy.frombuffer(raw, "u1"), 0)
        array.flags.writeable = False
    else:
        array = numpy.frombuffer(raw, _dtype(datatype.name))
    return array


def from_objects(values: Sequence[object]) -> "Array":
    """Return a flat array of objects. Raises ImportError if numpy is not installed."""
    array: Array = _numpy().empty(len(values), dtype=object)
    array[:] = values
    return array


def to_raw(array: "Array") -> Buffer:
    """Return the array's elements as raw bytes: a view if its memory has that form, else a copy.

    Raises InvalidInput if an element of an array of objects is neither str nor bytes-like.
    """
    if array.dtype.kind in BYTES_KINDS:
        return elements.join(to_elements(array))
    if array.nbytes < WORTH_A_VIEW:
        return copy_raw(array)
    flat = _numpy().ascontiguousarray(_little_endian(array)).reshape(-1)
    return memoryview(flat.view("u1"))


def copy_raw(array: "Array") -> bytes:
    """Return a copy of the array's elements as raw bytes; not for BYTES."""
    return _little_endian(array).tobytes()


def _little_endian(array: "Array") -> "Array":
    return array if array.dtype.isnative is LITTLE_ENDIAN else array.byteswap()


def to_elements(array: "Array") -> list[bytes]:
    """Return the elements of a BYTES array in row-major order, a str as UTF-8.

    array:  of bytes, text, datetimes, or objects that are str or bytes-like.

    Raises InvalidInput for another object.
    """
    if array.dtype.kind == "M":
        array = array.astype("U")
    return elements.to_bytes(_numpy().asarray(array).reshape(-1).tolist())


def datatype_of(array: "Array", wanted: str) -> str | None:
    """Return the name of the array's datatype, or None if the protocol has none for its dtype.

    wanted:  if it is BF16, an array of uint16 is BF16 too.
    """
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
    """Return the class of masked arrays for isinstance(); () if numpy.ma is not imported."""
    return getattr(sys.modules.get("numpy.ma"), "MaskedArray", ())


def _numpy() -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        return numpy
    try:
        return importlib.import_module("numpy")
    except ImportError:
        raise ImportError(f"arrays need numpy: pip install '{EXTRA}'") from None
