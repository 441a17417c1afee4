"""The table of the chart's values, from the comments in its values.yaml."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from docs.reference import table

VALUES = Path(__file__).parents[1] / "deploy" / "helm" / "inference-health-sidecar" / "values.yaml"
LINE = re.compile(r"^(?P<indent> *)(?P<key>\w+):(?: (?P<value>.*))?$")


class Value(NamedTuple):
    """One value: its path, its default, and the comment above it."""

    path: str
    default: str
    comment: str


def found(text: str) -> Iterator[Value]:
    """The values that have a default of their own, and those that only have a comment."""
    parents: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# ") and not stripped.startswith(("# -", "#  ")):
            comment.append(stripped[2:])
        elif match := LINE.match(line):
            del parents[len(match["indent"]) // 2 :]
            parents.append(match["key"])
            if match["value"] or comment:
                yield Value(".".join(parents), match["value"] or "", " ".join(comment))
            comment = []
        else:
            comment = []


def values(_: str) -> str:
    """The table."""
    rows = (
        (f"`{v.path}`", f"`{v.default}`" if v.default else "", v.comment)
        for v in found(VALUES.read_text())
    )
    return table(("value", "default", "meaning"), rows)
