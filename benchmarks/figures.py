"""How figures are shown: minimum, median and maximum, as a Markdown table."""

from collections.abc import Mapping, Sequence
from statistics import median


def table(figures: Mapping[str, Sequence[float]]) -> str:
    """A row for each name."""
    rows = [
        f"| {name} | {min(values):.3g} | {median(values):.3g} | {max(values):.3g} | {len(values)} |"
        for name, values in figures.items()
    ]
    return "\n".join(
        ["| figure | min | median | max | runs |", "| --- | --- | --- | --- | --- |", *rows]
    )
