"""Reads the documents of a stream, YAML or JSON, with lines and comments; reports problems."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import YAMLError

from sidecar.doctor.nodes import Path, items, text

MAX_BYTES = 5_000_000  # of one file
MAX_NODES = 100_000  # of one document, with every alias expanded
MAX_DEPTH = 100  # of one document, far below Python's recursion limit

# The API groups whose documents are read. Others are known to have no pods, or are reported.
# fmt: off
EXAMINED = frozenset({
    "Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "InferenceService",
    "ServingRuntime", "ClusterServingRuntime", "ConfigMap", "Service", "PodDisruptionBudget",
    "List",
})
WITHOUT_PODS = frozenset({
    "Namespace", "Secret", "ServiceAccount", "Role", "RoleBinding", "ClusterRole",
    "ClusterRoleBinding", "PersistentVolume", "PersistentVolumeClaim", "StorageClass", "Ingress",
    "IngressClass", "NetworkPolicy", "HorizontalPodAutoscaler", "LimitRange", "ResourceQuota",
    "PriorityClass", "CustomResourceDefinition", "Endpoints", "EndpointSlice", "PodMonitor",
    "ServiceMonitor", "PrometheusRule", "Gateway", "HTTPRoute", "GRPCRoute",
    "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "Kustomization",
})
# fmt: on

_START = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_KIND = re.compile(r"^kind:[ \t]*[\"']?(\w+)", re.MULTILINE)
_SILENCE = re.compile(r"#\s*sidecar-doctor:\s*ignore\s+((?:IHS\d+[\s,]*)+)(.*)")


@dataclass(frozen=True, slots=True)
class Problem:
    """A document that was not examined, and why. `is_error`: it could not be read."""

    source: str
    line: int
    why: str
    is_error: bool = True


@dataclass(frozen=True, slots=True)
class Silence:
    """A comment that silences findings. `line`: in its document, from 1."""

    line: int
    identifiers: tuple[str, ...]
    reason: str


@dataclass(frozen=True, eq=False, slots=True)
class Document:
    """One Kubernetes object. `line`: the first line of its text in the source, from 1."""

    source: str
    line: int
    data: Mapping[str, Any]
    silences: tuple[Silence, ...] = ()

    @property
    def kind(self) -> str:
        """Its kind; empty if there is none."""
        return text(self.data, "kind")

    @property
    def name(self) -> str:
        """Its name."""
        return text(self.data, "metadata", "name")

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return text(self.data, "metadata", "namespace") or "default"

    def lines(self, path: Path) -> tuple[int, int]:
        """Return the first and the last line of the value at a path, in its text, from 1."""
        node: Any = self.data
        first: int = node.lc.line + 1
        for part in path:
            place = _place(node, part)
            if place is None:
                break
            first = place
            node = node[part]
        return first, max([first, *_lines(node)])

    def line_of(self, path: Path) -> int:
        """Return the line of a path in the source, from 1; of its parent if it does not exist."""
        return self.line + self.lines(path)[0] - 1


def read(source: str, content: bytes) -> Iterator[Document | Problem]:
    """Return the documents in a file, and a Problem for each one that is not examined."""
    if len(content) > MAX_BYTES:
        yield Problem(source, 1, f"has more than {MAX_BYTES:,} bytes, which are allowed")
        return
    try:
        stream = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        yield Problem(source, 1, "is not text in UTF-8")
        return
    starts = [match.start() for match in _START.finditer(stream)]
    for begin, end in zip([0, *starts], [*starts, len(stream)], strict=True):
        chunk = stream[begin:end]
        if chunk.strip().strip("-"):
            yield from _documents(source, stream.count("\n", 0, begin) + 1, chunk)


def _documents(source: str, line: int, chunk: str) -> Iterator[Document | Problem]:
    kind = _KIND.search(chunk)
    if kind and kind[1] not in EXAMINED:
        yield from _unexamined(source, line, kind[1])
        return
    data = _parse(source, line, chunk)
    if isinstance(data, Problem):
        yield data
        return
    if data is None:
        return
    silences = tuple(_silences(chunk))
    if isinstance(data, Mapping) and data.get("kind") == "List":
        for item in items(data, "items"):
            yield from _one(source, line, item, silences)
        return
    yield from _one(source, line, data, silences)


def _one(
    source: str, line: int, data: Any, silences: tuple[Silence, ...]
) -> Iterator[Document | Problem]:
    if not isinstance(data, Mapping) or not isinstance(data.get("kind"), str):
        yield Problem(source, line, "is no object of Kubernetes: it has no kind")
    elif data["kind"] not in EXAMINED:
        yield from _unexamined(source, line, data["kind"])
    else:
        yield Document(source, line, data, silences)


def _unexamined(source: str, line: int, kind: str) -> Iterator[Problem]:
    if kind not in WITHOUT_PODS:
        allowed = "Pod, Deployment, StatefulSet, DaemonSet, InferenceService and ServingRuntime"
        yield Problem(source, line, f"kind {kind} is not examined; {allowed} are", is_error=False)


class _TooDeep(Exception):
    """A document is nested deeper than MAX_DEPTH."""


class _Composer(Composer):
    """Stops at MAX_DEPTH, below the recursion limit, at which any other code would fail too."""

    _depth = 0

    def compose_node(self, parent: Any, index: int) -> Any:
        """Compose a node as the base class does."""
        if self._depth == MAX_DEPTH:
            raise _TooDeep
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


def _parse(source: str, line: int, chunk: str) -> Any:
    """Return the content of a document with its comments, or a Problem."""
    try:
        yaml = YAML(typ="rt", pure=True)
        yaml.Composer = _Composer
        data = yaml.load(chunk)
        if _size(data, {}) > MAX_NODES:
            why = f"has more than {MAX_NODES:,} values once its aliases are written out"
            return Problem(source, line, why)
    except YAMLError as error:
        return _not_yaml(source, line, chunk, error)
    except _TooDeep:
        return Problem(source, line, "is nested too deeply")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return Problem(source, line, f"is not YAML: {one_line(error)}")
    return data


def _size(node: Any, known: dict[int, int]) -> int:
    if not isinstance(node, Mapping | list):
        return 1
    if id(node) not in known:
        known[id(node)] = MAX_NODES + 1  # it is being counted: the node contains itself
        children = node.values() if isinstance(node, Mapping) else node
        total = 1
        for child in children:
            total += _size(child, known)
            if total > MAX_NODES:
                break
        known[id(node)] = total
    return known[id(node)]


def _not_yaml(source: str, line: int, chunk: str, error: YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    at = line + (mark.line if mark else 0)
    if re.search(r"\{\{.*?\}\}", chunk):
        why = "is a template with {{ }}, not YAML; render it first: helm template, kustomize build"
    else:
        why = f"is not YAML: {getattr(error, 'problem', None) or one_line(error)}"
    return Problem(source, at, why)


def _silences(chunk: str) -> Iterator[Silence]:
    for number, content in enumerate(chunk.splitlines(), 1):
        if match := _SILENCE.search(content):
            yield Silence(number, tuple(re.findall(r"IHS\d+", match[1])), match[2].strip(" :-"))


def _place(node: Any, part: Any) -> int | None:
    """Return the line of a key or an item, from 1; None if it does not exist."""
    try:
        node[part]
        place: Any = node.lc
        line: int = (place.key(part) if isinstance(node, Mapping) else place.item(part))[0]
    except (KeyError, IndexError, TypeError, AttributeError):
        return None
    return line + 1


def _lines(node: Any) -> Iterator[int]:
    """Return the line of each key and item in a node, from 1."""
    if not isinstance(node, Mapping | list):
        return
    keys: Any = node if isinstance(node, Mapping) else range(len(node))
    for key in list(keys):
        place = _place(node, key)
        if place is not None:
            yield place
        yield from _lines(node[key])


def one_line(error: object) -> str:
    """Return the text of an error on one line of limited length."""
    return " ".join(str(error).split())[:200]
