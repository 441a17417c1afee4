"""Findings: a mistake, its position, and the edits that correct it."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from sidecar.config import Settings
from sidecar.doctor.containers import Container
from sidecar.doctor.documents import Document
from sidecar.doctor.nodes import Path, at
from sidecar.doctor.pods import Pod
from sidecar.doctor.settings import SidecarSettings


class Severity(StrEnum):
    """How serious it is: an error will cost requests or restarts; a warning may."""

    ERROR = "error"
    WARNING = "warning"


ERROR, WARNING = Severity.ERROR, Severity.WARNING


@dataclass(frozen=True, slots=True)
class Mistake:
    """One kind of mistake: what it is, why it is harmful, and what to do instead."""

    identifier: str
    severity: Severity
    title: str
    why: str
    instead: str


class Removed:
    """The value for an edit that removes a key."""


Edit = tuple[Path, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """The input of a rule: a pod with an inference server, and the settings of its sidecar.

    `sidecar` and `settings` are None if the pod has no sidecar; `settings` is also None if some
    of them are unknown or invalid.
    """

    pod: Pod
    server: Container
    sidecar: Container | None
    read: SidecarSettings | None

    @property
    def settings(self) -> Settings | None:
        """The sidecar's settings; None if they are unknown."""
        return self.read.settings if self.read else None


@dataclass(frozen=True, slots=True)
class Found:
    """One occurrence of a rule's mistake.

    path:   the wrong part, or the part in which something is missing.
    shown:  the part that is printed, corrected. `also`: further parts.
    """

    document: Document
    path: Path
    message: str
    edits: tuple[Edit, ...] = ()
    shown: Path = ()
    container: str = ""
    also: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake in a pod."""

    mistake: Mistake
    pod: Pod = field(repr=False)
    found: Found

    @property
    def source(self) -> str:
        """The file."""
        return self.found.document.source

    @property
    def line(self) -> int:
        """Its line in the file, from 1."""
        return self.found.document.line_of(self.found.path)

    def corrected(self) -> str:
        """The corrected part of the document, with its comments and order."""
        if not self.found.edits:
            return ""
        data = copy.deepcopy(self.found.document.data)
        for path, value in self.found.edits:
            edit(data, path, value)
        parts = {}
        for shown in (self.found.shown, *self.found.also):
            name = next((str(part) for part in reversed(shown) if isinstance(part, str)), "")
            part = at(data, *shown)
            parts[name] = [part] if shown and isinstance(shown[-1], int) else part
        return _dump(parts)


Rule = Callable[[Case], Iterator[Found]]
RULES: dict[str, tuple[Mistake, Rule]] = {}


def rule(
    identifier: str, severity: Severity, title: str, *, why: str, instead: str
) -> Callable[[Rule], Rule]:
    """Return a decorator that registers the function which finds a mistake."""

    def register(function: Rule) -> Rule:
        if identifier in RULES:
            raise TypeError(f"{identifier} is there twice")
        RULES[identifier] = Mistake(identifier, severity, title, why, instead), function
        return function

    return register


def in_container(
    container: Container,
    message: str,
    *edits: Edit,
    place: Path = (),
    shown: Path | None = None,
) -> Found:
    """Return an occurrence in a container; paths are relative to the container.

    The part at `place` is shown, unless another one is given.
    """
    return Found(
        container.document,
        (*container.path, *place),
        message,
        tuple(((*container.path, *path), value) for path, value in edits),
        (*container.path, *(place if shown is None else shown)),
        container.name,
    )


def in_pod(pod: Pod, message: str, *edits: Edit, place: Path = ()) -> Iterator[Found]:
    """Yield an occurrence in the pod's spec, if the manifest has it."""
    if pod.outer is not None:
        document, path = pod.outer
        whole = tuple(((*path, *inner), value) for inner, value in edits)
        shown = (*path, *place) if place else path
        yield Found(document, (*path, *place), message, whole, shown)


def edit(node: Any, path: Path, value: Any) -> None:
    """Apply one edit to the content of a document."""
    *parents, last = path
    for part, following in zip(parents, path[1:], strict=True):
        if isinstance(following, str) and not isinstance(at(node, part), dict):
            node[part] = CommentedMap()  # replaces an empty value, or one that Kubernetes rejects
        node = node[part]
    if value is Removed:
        node.pop(last, None)
    else:
        node[last] = value


def _dump(part: Any) -> str:
    yaml = YAML(typ="rt", pure=True)
    yaml.width = 1000
    yaml.indent(mapping=2, sequence=4, offset=2)
    stream = StringIO()
    yaml.dump(part, stream)
    return stream.getvalue()
