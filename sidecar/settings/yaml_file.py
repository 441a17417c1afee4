"""A settings file: its values, and what YAML would silently make of them.

YAML 1.1 reads 010 as 8, 1:30 as 90 and no as false, and of a key that is given twice only the
last value. Whether text or a number is wanted is known to the setting, so that the place of each
scalar that is no text is kept; what is never meant is an error at once.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

# The setting, and inside it the index in a list or the key in a mapping.
Place = tuple[str, ...]

_TAG = "tag:yaml.org,2002:"
_KINDS = {"bool": "boolean", "int": "number", "float": "number"}

# How what is no text is written so that everybody reads it alike.
_ORDINARY = {
    "int": re.compile(r"-?(0|[1-9][0-9]*)"),
    "float": re.compile(r"(?![-+]?0[0-9])[^_:]*"),
    "timestamp": re.compile(r"(?!)"),  # no setting is a date
}


@dataclass(frozen=True, slots=True)
class Document:
    """A settings file that has been read.

    values:  the settings by name.
    read_as: where a scalar is no text to YAML: its line, and what it is read as.
    wrong:   what no setting can mean: the name of the setting, and line and reason.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    read_as: Mapping[Place, str] = field(default_factory=dict)
    wrong: tuple[tuple[str, str], ...] = ()


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, and what is a number to other readers of YAML."""


_Loader.add_implicit_resolver(
    _TAG + "float",
    re.compile(r"^[-+]?((\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+|0[0-9]*[89][0-9]*)$"),
    list("-+.0123456789"),
)
_Loader.add_implicit_resolver(_TAG + "int", re.compile(r"^0o[0-7]+$"), ["0"])


def read(path: Path, show: Callable[[str, str], str]) -> Document:
    """Reads a settings file; ValueError when it holds no settings at all.

    `show` gives, for the name of a setting and what is written there, what may be repeated of it.
    """
    try:
        content, inspection = _parse(path.read_text("utf-8"), show)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" in line {mark.line + 1}" if mark else ""
        raise ValueError(f"is not YAML: {error.problem}{where}") from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, RecursionError):
        raise ValueError("is not YAML") from None  # the library lets some of these through
    if content is None:
        return Document()
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError("is not a mapping of settings to values")
    return Document(content, inspection.read_as, tuple(inspection.wrong))


def _parse(text: str, show: Callable[[str, str], str]) -> tuple[object, "_Inspection"]:
    loader = _Loader(text)
    try:
        inspection = _Inspection(loader, show)
        root = loader.get_single_node()
        if root is None:
            return None, inspection
        inspection.look(root, ())
        return loader.construct_document(root), inspection
    finally:
        loader.dispose()


class _Inspection:
    """Looks at each node of a document once, before values are made of them."""

    def __init__(self, loader: _Loader, show: Callable[[str, str], str]) -> None:
        self._loader = loader
        self._show = show
        self._seen: set[int] = set()
        self.read_as: dict[Place, str] = {}
        self.wrong: list[tuple[str, str]] = []

    def look(self, node: yaml.Node, place: Place) -> None:
        """Notes what is wrong with a node and with all below it."""
        if id(node) in self._seen:  # an alias
            return
        self._seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            self._look_at_keys(node, place)
            for key, value in node.value:
                name = key.value if isinstance(key, yaml.ScalarNode) else ""
                self.look(value, (*place, name))
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.look(item, (*place, str(index)))
        elif isinstance(node, yaml.ScalarNode) and place and (kind := _kind(node)) != "str":
            self.read_as[place] = f"{self._read_as(node, place[0])}: quote it"
            if kind in _ORDINARY and not _ORDINARY[kind].fullmatch(node.value):
                self._refuse(node, place[0])

    def _look_at_keys(self, node: yaml.MappingNode, place: Place) -> None:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            name = place[0] if place else key.value
            line = key.start_mark.line + 1
            if key.value in lines:
                what = "a key is given twice" if place else "given twice"
                self.wrong.append((name, f"{what}, in line {lines[key.value]} and line {line}"))
            lines[key.value] = line
            if place and _kind(key) not in ("str", "merge"):
                self._refuse(key, name)

    def _refuse(self, node: yaml.ScalarNode, name: str) -> None:
        reason = f"{self._read_as(node, name)}: quote it"
        if _kind(node) in ("int", "float") and self._show(name, node.value) == node.value:
            reason += f", or write {json.dumps(self._value(node)).removesuffix('.0')}"
        self.wrong.append((name, reason))
        node.tag = _TAG + "str"

    def _read_as(self, node: yaml.ScalarNode, name: str) -> str:
        """The line of a scalar, how it is written, and what it is read as."""
        kind, shown = _kind(node), self._show(name, node.value)
        read_as = "a date" if kind == "timestamp" else kind
        if kind in _KINDS:
            known = shown == node.value
            the_value = f"the {_KINDS[kind]} {json.dumps(self._value(node))}"
            read_as = the_value if known else f"a {_KINDS[kind]}"
        return f"line {node.start_mark.line + 1}: {shown or 'nothing'} is read as {read_as}"

    def _value(self, node: yaml.ScalarNode) -> object:
        # Not by construct_object, which would keep the value for the document.
        return _Loader.yaml_constructors[node.tag](self._loader, node)


def _kind(node: yaml.Node) -> str:
    return str(node.tag).removeprefix(_TAG)
