"""What is told of a change, in the fields of an Event (events.k8s.io/v1)."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sidecar.core.rules import MEANINGS

CONTROLLER = "inference-health-sidecar"
ACTION = "Probing"
# Limits of Kubernetes: of `note` in bytes, of `reportingInstance` in characters, of a name.
MAX_NOTE = 1024
MAX_INSTANCE = 128
MAX_NAME = 253
# Changes that wait for a write at most: of checks, and of endpoints.
MAX_PENDING_CHECKS, MAX_PENDING_ENDPOINTS = 10_000, 100


class Pod(NamedTuple):
    """The pod that the Events are about. Without its uid `kubectl describe pod` shows none."""

    name: str
    uid: str


class Subject(NamedTuple):
    """What has changed to what.

    name:     `/readyz`, `/healthz` or a check's.
    reason:   as in metrics and bodies.
    cause:    of an endpoint that fails: the first check that fails.
    warning:  whether the Event is a Warning.
    """

    name: str
    passing: bool
    reason: str
    warning: bool
    cause: str = ""

    @property
    def is_endpoint(self) -> bool:
        """Whether it is an endpoint, not a check."""
        return self.name.startswith("/")


class Told(NamedTuple):
    """Changes that become one Event. Times are Unix seconds.

    names:  of the checks, or of one endpoint.
    more:   of an endpoint that fails: how many checks fail besides `subject.cause`.
    times:  how often it has happened.
    """

    subject: Subject
    names: tuple[str, ...]
    first: float
    last: float
    times: int = 1
    more: int = 0

    @property
    def key(self) -> tuple[Subject, tuple[str, ...]]:
        """The same for what is counted up."""
        return self.subject, self.names

    @property
    def note(self) -> str:
        """What has happened and since when, in at most 1024 bytes."""
        subject = self.subject
        is_one = len(self.names) == 1
        who = self.names[0] if is_one else f"{len(self.names)} checks"
        verb = (
            ("passes" if is_one else "pass") if subject.passing else ("fails" if is_one else "fail")
        )
        text = f"{who} {verb} since {_plain_time(self.last)}"
        if not subject.passing:
            text += f": {' '.join(filter(None, (subject.cause, subject.reason)))}"
            text += f" ({MEANINGS[subject.reason]})" if subject.reason in MEANINGS else ""
        if self.more:
            text += f"; {self.more} more check{'s fail' if self.more > 1 else ' fails'}"
        if self.times > 1:
            text += f"; {self.times} times since {_plain_time(self.first)}"
        return _bounded(text) if is_one else _listed(f"{text}: ", self.names)

    def as_event(self, name: str, namespace: str, pod: Pod) -> dict[str, Any]:
        """The body that creates the Event."""
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": micro_time(self.first),
            "reportingController": CONTROLLER,
            "reportingInstance": pod.name[:MAX_INSTANCE],
            "action": ACTION,
            "reason": camel_case(self.subject.reason),
            "regarding": {
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": namespace,
                "name": pod.name,
                "uid": pod.uid,
            },
            "note": self.note,
            "type": "Warning" if self.subject.warning else "Normal",
        }
        if self.times > 1:
            event |= series(self.times, self.last)
        return event


def series(count: int, last: float) -> dict[str, Any]:
    """The part of an Event that says how often it has happened; at least twice."""
    return {"series": {"count": count, "lastObservedTime": micro_time(last)}}


def micro_time(at: float) -> str:
    """RFC 3339 with exactly six digits, as Kubernetes' MicroTime is parsed."""
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
    return moment.replace("+00:00", "Z")


def camel_case(reason: str) -> str:
    """`not_ready` is NotReady."""
    return "".join(word.capitalize() for word in reason.split("_"))


class Pending:
    """The changes that are not yet told, those of one subject counted together.

    The one that happened last stands last.
    """

    def __init__(self) -> None:
        self._checks: dict[Subject, Told] = {}
        self._endpoints: dict[Subject, Told] = {}

    def __len__(self) -> int:
        return len(self._checks) + len(self._endpoints)

    def add(self, subject: Subject, at: float, more: int = 0) -> bool:
        """Takes in one change; False when there are too many others."""
        entries, most = self._checks, MAX_PENDING_CHECKS
        if subject.is_endpoint:
            entries, most = self._endpoints, MAX_PENDING_ENDPOINTS
        before = entries.pop(subject, None)
        if before is None and len(entries) >= most:
            return False
        told = Told(subject, (subject.name,), at, at, more=more)
        if before:
            told = told._replace(first=before.first, times=before.times + 1)
        entries[subject] = told
        return True

    def take(self) -> Told:
        """The next to be told: an endpoint, or all checks that changed in the same way.

        KeyError when there is none.
        """
        if self._endpoints:
            return self._endpoints.pop(next(iter(self._endpoints)))
        if not self._checks:
            raise KeyError("nothing is pending")
        alike: dict[Subject, list[Told]] = defaultdict(list)
        for told in self._checks.values():
            alike[told.subject._replace(name="")].append(told)
        together = next(iter(alike.values()))
        for told in together:
            del self._checks[told.subject]
        return Told(
            together[0].subject._replace(name=""),
            tuple(sorted(told.subject.name for told in together)),
            min(told.first for told in together),
            max(told.last for told in together),
            max(told.times for told in together),
        )


def _plain_time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _bounded(text: str) -> str:
    return text if len(text.encode()) <= MAX_NOTE else _cut(text, MAX_NOTE - 3) + "..."


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")


def _listed(head: str, names: Sequence[str]) -> str:
    """The head and as many of the names as there is room for."""
    tail = f" and {len(names)} more"  # the longest that it can be
    room = MAX_NOTE - len(head.encode()) - len(tail)
    for shown, name in enumerate(names):
        room -= len(name.encode()) + len(", ")
        if room < 0:
            return _bounded(f"{head}{', '.join(names[:shown])} and {len(names) - shown} more")
    return head + ", ".join(names)
