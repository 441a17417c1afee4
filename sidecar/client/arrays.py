"""Tensors as numpy arrays. Only this module knows numpy, and imports it when it is needed."""

import importlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from sidecar.client import datatypes
from sidecar.client.datatypes import Buffer, Datatype

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

EXTRA = "inference-health-sidecar[infer]"

# numpy's name of each datatype that it has one for.
DTYPES = {
    "BOOL": "bool",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BF16": "bfloat16",
}
DATATYPE_OF = {dtype: name for name, dtype in DTYPES.items()}

# numpy's kinds of dtype that hold bytes, text, objects and moments.
BYTES_KINDS = "SUOM"


def is_array(value: object) -> "TypeGuard[Array]":
    """Whether this is an array; whoever has one has imported numpy."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def from_raw(datatype: Datatype, raw: Buffer) -> "Array":
    """A flat array over the same bytes, read-only when they are; of BYTES an array of objects.

    The bytes are a whole number of elements. BF16 is ml_dtypes.bfloat16 where that package is installed, else uint16
    with the same bits.
    """
    numpy = _numpy()
    if datatype.size is None:
        return from_elements(datatypes.split(raw))
    if datatype.name == "BOOL":
        # A byte other than 0 and 1 would make numpy count wrong.
        array: Array = numpy.not_equal(numpy.frombuffer(raw, "u1"), 0)
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
    ordered = _numpy().ascontiguousarray(array)
    if ordered.dtype.byteorder == ">" or (ordered.dtype.byteorder == "=" and _big_endian()):
        ordered = ordered.byteswap()
    return memoryview(ordered.reshape(-1).view("u1"))


def to_elements(array: "Array") -> list[bytes]:
    """The elements of an array of bytes, text or anything that has a text, row by row."""
    if array.dtype.kind == "M":
        array = array.astype("U")
    values = array.reshape(-1).tolist()
    return datatypes.to_bytes(
        [value if isinstance(value, bytes | str) else str(value) for value in values]
    )


def datatype_of(array: "Array", wanted: str) -> str | None:
    """The datatype that an array is; uint16 passes for BF16 where that is wanted."""
    if array.dtype.kind in BYTES_KINDS:
        return "BYTES"
    name = DATATYPE_OF.get(array.dtype.name)
    return wanted if (wanted, name) == ("BF16", "UINT16") else name


def _dtype(name: str) -> Any:
    if name != "BF16":
        return _numpy().dtype(DTYPES[name]).newbyteorder("<")
    try:
        return importlib.import_module("ml_dtypes").bfloat16
    except ImportError:
        return "<u2"


def _big_endian() -> bool:
    return sys.byteorder == "big"


def _numpy() -> Any:
    try:
        return importlib.import_module("numpy")
    except ImportError:
        raise ImportError(f"arrays need numpy: pip install '{EXTRA}'") from None
