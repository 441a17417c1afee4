"""Reads the value at a path of a document, whatever its type."""

from collections.abc import Mapping, Sequence
from typing import Any

Path = tuple[str | int, ...]


def text(node: Any, *path: str) -> str:
    """Return the text at a path; empty if there is none."""
    found = at(node, *path)
    return str(found) if isinstance(found, str) else ""


def at(node: Any, *path: str | int) -> Any:
    """Return the value at a path; None if there is none."""
    for part in path:
        if isinstance(node, Mapping):
            node = node.get(part)
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
        else:
            return None
    return node


def items(node: Any, *path: str) -> list[Any]:
    """Return the items of the list at a path; empty if it is not a list."""
    found = at(node, *path)
    return list(found) if isinstance(found, Sequence) and not isinstance(found, str) else []


def plain(node: Any) -> Any:
    """Return the content of a node without comments and positions."""
    if isinstance(node, Mapping):
        return {key: plain(value) for key, value in node.items()}
    return [plain(item) for item in node] if isinstance(node, list) else node


def number(node: Any, *path: str, default: float) -> float:
    """Return the number at a path; the default if there is none."""
    found = at(node, *path)
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    return float(found) if is_number else default
