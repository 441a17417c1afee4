"""How figures are shown: minimum, median and maximum, as a Markdown table."""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median


def table(figures: Mapping[str, Sequence[float]], *, percentile: bool = False) -> str:
    """A row for each name, on request with the 99th percentile."""
    columns: dict[str, Callable[[Sequence[float]], float]] = {"min": min, "median": median}
    if percentile:
        columns["99th percentile"] = ninety_ninth
    columns["max"] = max
    rows = [
        [name, *(f"{of(values):.3g}" for of in columns.values()), str(len(values))]
        for name, values in figures.items()
    ]
    head = ["figure", *columns, "runs"]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def ninety_ninth(values: Sequence[float]) -> float:
    """The value that 99 in 100 do not exceed: of fewer than 100 values, the greatest."""
    return sorted(values)[math.ceil(len(values) * 0.99) - 1]


def divide(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Ratios, run by run."""
    return [a / b for a, b in zip(ours, theirs, strict=True)]
