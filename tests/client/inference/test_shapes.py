"""Shapes: their number of elements, nested lists, and which are not valid."""

import pytest

from sidecar.client import InvalidInput
from sidecar.client.inference.shapes import check_count, check_size, count, flatten


@pytest.mark.parametrize(
    ("nested", "flat"),
    [
        ([1, 2], [1, 2]),
        ([[1, 2], [3]], [1, 2, 3]),
        (((1,), [[2]]), [1, 2]),
        ([[], []], []),
        ([], []),
    ],
)
def test_lists_in_lists_are_read_row_by_row(nested, flat):
    assert list(flatten(nested)) == flat


@pytest.mark.parametrize(("shape", "elements"), [([], 1), ([2, 3], 6), ((4,), 4), ([5, 0], 0)])
def test_a_shape_has_room_for_so_many(shape, elements):
    assert count(shape) == elements


@pytest.mark.parametrize("shape", [[-1], [2, 1.5], ["2"], None, 3, [None]])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(InvalidInput, match="is not a list of sizes from 0"):
        count(shape)


def test_another_number_of_elements_or_bytes_is_refused():
    check_count(6, [2, 3])
    check_size(24, "FP32", [2, 3])
    check_size(5, "BYTES", [2, 3])
    with pytest.raises(InvalidInput, match=r"5 elements; shape \[2, 3\] takes 6"):
        check_count(5, [2, 3])
    with pytest.raises(InvalidInput, match=r"23 raw bytes; FP32 of shape \[2, 3\] takes 24"):
        check_size(23, "FP32", [2, 3])
