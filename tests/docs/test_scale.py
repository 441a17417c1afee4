"""The formula of docs/scale.md is that of the real page."""

import re

import pytest

from docs.series import parts, series
from tests.docs.pages import doc


@pytest.mark.parametrize(
    ("models", "canaries"), [(0, 0), (1, 0), (10, 0), (10, 10), (7, 3), (200, 1)]
)
def test_the_formula_gives_the_number_of_series_of_the_page(models, canaries):
    fixed, each_model, fixed_canaries, each_canary = parts()
    expected = fixed + each_model * models
    if canaries:
        expected += fixed_canaries + each_canary * canaries
    assert series(models, canaries) == expected


def test_the_page_has_the_formula():
    found = re.search(r"`(\d+) \+ (\d+) m`.*`(\d+) \+ (\d+) c`", doc("scale"))
    assert found
    assert tuple(map(int, found.groups())) == parts()
