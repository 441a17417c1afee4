"""What stands at a path in a document, whatever its form."""

from collections.abc import Mapping, Sequence
from typing import Any

Path = tuple[str | int, ...]


def text(node: Any, *path: str) -> str:
    """The text at a path; empty where there is none."""
    found = at(node, *path)
    return str(found) if isinstance(found, str) else ""


def at(node: Any, *path: str | int) -> Any:
    """What stands at a path; None where there is nothing."""
    for part in path:
        if isinstance(node, Mapping):
            node = node.get(part)
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
        else:
            return None
    return node


def items(node: Any, *path: str) -> list[Any]:
    """The items of the list at a path; none where there is no list."""
    found = at(node, *path)
    return list(found) if isinstance(found, Sequence) and not isinstance(found, str) else []


def plain(node: Any) -> Any:
    """What a node holds, without its comments and places."""
    if isinstance(node, Mapping):
        return {key: plain(value) for key, value in node.items()}
    return [plain(item) for item in node] if isinstance(node, list) else node


def number(node: Any, *path: str, default: float) -> float:
    """The number at a path; the default where there is none."""
    found = at(node, *path)
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    return float(found) if is_number else default
