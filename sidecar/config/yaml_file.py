"""Reads a settings file, and reports values that YAML would change silently.

YAML 1.1 reads 010 as 8, 1:30 as 90 and no as false, and keeps only the last value of a key that
is given twice. Only the setting knows whether text or a number is expected, so the position of
each scalar that is not text is kept. Forms that are always a mistake are errors at once.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

# The setting, followed by an index for a list or a key for a mapping.
Place = tuple[str, ...]

MAX_DEPTH = 100  # of mappings and lists

_TAG = "tag:yaml.org,2002:"
_KINDS = {"bool": "boolean", "int": "number", "float": "number"}

# The forms of values other than text that every YAML parser reads the same way.
_ORDINARY = {
    "int": re.compile(r"0|-?[1-9][0-9]*"),
    "float": re.compile(r"(?![-+]?0[0-9])[^_:]*"),
    "timestamp": re.compile(r"(?!)"),  # no setting is a date
}


# PyYAML's errors may quote a secret, unless they quote one character or the name of a token.
_QUOTED = re.compile(r"""\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")
_HARMLESS = re.compile(r"""(?P<q>['"])(.|\\.|\\x..|\\u.{4}|<[a-z ]+>)(?P=q)""")


@dataclass(frozen=True, slots=True)
class Document:
    """The content of a settings file.

    values:  the settings by name.
    read_as: for each scalar that YAML does not read as text: its line and type.
    same:    for each position of an alias: that of its anchor.
    wrong:   forms that are always a mistake: the name of the setting, line and reason.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    read_as: Mapping[Place, str] = field(default_factory=dict)
    same: Mapping[Place, Place] = field(default_factory=dict)
    wrong: tuple[tuple[str, str], ...] = ()

    def anchored_at(self, place: Place) -> Place:
        """Return the position, or that of the anchor if there is an alias at the position."""
        found = self._resolved(place)
        beside = len(found) == len(place) and found[0] == place[0]
        return found if beside else place

    def what_is_at(self, place: Place) -> str | None:
        """Return the type of a scalar that is not text, also for a model in short form."""
        merged = self._resolved((*place[:-1], "<<", place[-1]))
        places = (place, place[:-1], merged)
        return next((self.read_as[at] for at in places if at in self.read_as), None)

    def _resolved(self, place: Place) -> Place:
        for length in range(1, len(place) + 1):
            if place[:length] in self.same:
                return self._resolved(self.same[place[:length]] + place[length:])
        return place


class _Loader(yaml.SafeLoader):
    """YAML 1.1 as PyYAML reads it, and the numbers of other YAML parsers."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node as the base class does, up to a depth below Python's recursion limit."""
        if self._depth == MAX_DEPTH:
            raise yaml.YAMLError("nested too deeply")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


_Loader.add_implicit_resolver(
    _TAG + "float",
    re.compile(r"^[-+]?((\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+|0[0-9]*[89][0-9]*)$"),
    list("-+.0123456789"),
)
_Loader.add_implicit_resolver(_TAG + "int", re.compile(r"^0o[0-7]+$"), ["0"])


def read(path: Path, show: Callable[[str, str], str]) -> Document:
    """Read a settings file. ValueError if it has no settings at all.

    `show` returns, for the name of a setting and its text, what an error may show of it.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    return parse(text, show)


def parse(text: str, show: Callable[[str, str], str]) -> Document:
    """The same for the text of a settings file."""
    try:
        content, inspection = _parse(text, show)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" in line {mark.line + 1}" if mark else ""
        raise ValueError(f"is not YAML: {_without_quoted(error.problem)}{where}") from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError):
        raise ValueError("is not YAML") from None  # the library accepts some of these
    if content is None:
        return Document()
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError("is not a mapping of settings to values")
    return Document(content, inspection.read_as, inspection.same, tuple(inspection.wrong))


def _without_quoted(problem: str | None) -> str:
    return _QUOTED.sub(lambda m: m[0] if _HARMLESS.fullmatch(m[1]) else "", problem or "")


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
    """Inspects each node of a document once, before values are constructed."""

    def __init__(self, loader: _Loader, show: Callable[[str, str], str]) -> None:
        self._loader = loader
        self._show = show
        self._first: dict[int, Place] = {}
        self.same: dict[Place, Place] = {}
        self.read_as: dict[Place, str] = {}
        self.wrong: list[tuple[str, str]] = []

    def look(self, node: yaml.Node, place: Place) -> None:
        """Record the errors of a node and of all nodes below it."""
        first = self._first.setdefault(id(node), place)
        if first != place:
            self.same[place] = first
        if isinstance(node, yaml.ScalarNode):
            if place and _kind(node) != "str":
                self._look_at_scalar(node, place)
        elif first != place:
            return
        elif isinstance(node, yaml.MappingNode):
            self._look_at_keys(node, place)
            for key, value in node.value:
                name = key.value if isinstance(key, yaml.ScalarNode) else ""
                self.look(value, (*place, name))
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.look(item, (*place, str(index)))

    def _look_at_scalar(self, node: yaml.ScalarNode, place: Place) -> None:
        kind, shown = _kind(node), self._show(place[0], node.value)
        what = f"a {_KINDS[kind]}" if kind in _KINDS else f"YAML's {kind}"
        if kind in _KINDS and shown == node.value:
            value = json.dumps(self._value(node))
            what = what if value == shown else f"the {_KINDS[kind]} {value}"
        line = node.start_mark.line + 1
        self.read_as[place] = f"line {line}: {shown or 'an empty value'} is {what}"
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
        kind, shown = _kind(node), self._show(name, node.value)
        read_as, better = ("a date" if kind == "timestamp" else kind), ""
        if kind in _KINDS:
            read_as = f"a {_KINDS[kind]}"
            if shown == node.value:
                value = json.dumps(self._value(node))
                read_as = f"the {_KINDS[kind]} {value}"
                better = f", or write {value.removesuffix('.0')}" if kind != "bool" else ""
        place = f"line {node.start_mark.line + 1}: {shown or 'nothing'}"
        self.wrong.append((name, f"{place} is read as {read_as}: quote it{better}"))
        node.tag = _TAG + "str"

    def _value(self, node: yaml.ScalarNode) -> object:
        # construct_object would keep the value for the document.
        return _Loader.yaml_constructors[node.tag](self._loader, node)


def _kind(node: yaml.Node) -> str:
    return str(node.tag).removeprefix(_TAG)
