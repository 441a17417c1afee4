"""The shape of a tensor: its number of elements, and nested lists as flat ones."""

from collections.abc import Iterator, Sequence
from operator import index
from typing import Any

from sidecar.client.errors import InvalidInput, shown
from sidecar.client.inference.datatypes import DATATYPES

# The protocol has the size of a dimension as an int64.
MAX_SIZE = 2**63 - 1

# Levels of nested lists.
MAX_DEPTH = 64


def count(shape: Sequence[int]) -> int:
    """Return the number of elements of a shape; 1 for an empty shape, which is a scalar.

    Raises InvalidInput if it is not a list or tuple of sizes from 0 to 2**63 - 1.
    """
    elements = 1
    fits = isinstance(shape, list | tuple)
    try:
        for size in map(index, shape):
            elements *= size
            fits = fits and 0 <= size <= MAX_SIZE
    except TypeError:
        fits = False
    if not fits:
        raise InvalidInput(f"shape {shown(shape)} is not a list of sizes from 0")
    return elements


def check_count(elements: int, shape: Sequence[int]) -> None:
    """Raise InvalidInput if the shape has another number of elements, or is not valid."""
    if elements != (wanted := count(shape)):
        raise InvalidInput(f"{elements} elements; shape {shown(shape)} takes {wanted}")


def check_size(size: int, datatype_name: str, shape: Sequence[int]) -> None:
    """Raise InvalidInput if a tensor of this datatype and shape has another number of raw bytes.

    size:  the number of raw bytes.

    Does nothing for BYTES, whose elements differ in size, and for an unknown datatype.
    """
    datatype = DATATYPES.get(datatype_name)
    if datatype is None or datatype.size is None:
        return
    wanted = count(shape) * datatype.size
    if size != wanted:
        raise InvalidInput(
            f"{size} raw bytes; {datatype_name} of shape {shown(shape)} takes {wanted}"
        )


def flatten(values: Sequence[Any]) -> Sequence[Any]:
    """Return the elements of nested lists in row-major order; a flat list is returned as it is.

    Raises InvalidInput if the lists are nested deeper than 64 levels, numpy's limit.
    """
    if not values or not isinstance(values[0], list | tuple):
        return values
    return list(_elements(values, MAX_DEPTH))


def _elements(values: Sequence[Any], depth: int) -> Iterator[Any]:
    if depth == 0:
        raise InvalidInput(f"its lists are nested too deeply; allowed: {MAX_DEPTH} levels")
    for value in values:
        if isinstance(value, list | tuple):
            yield from _elements(value, depth - 1)
        else:
            yield value
