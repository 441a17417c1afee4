"""The content of Events (events.k8s.io/v1) about changes, and the changes not yet written."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sidecar.core.rules import MEANINGS

CONTROLLER = "inference-health-sidecar"
ACTION = "Probing"
# Limits of Kubernetes: for `note` in bytes, for `reportingInstance` in characters, for a name.
MAX_NOTE = 1024
MAX_INSTANCE = 128
MAX_NAME = 253
# The maximum number of pending changes of checks and of endpoints.
MAX_PENDING_CHECKS, MAX_PENDING_ENDPOINTS = 10_000, 100


class Pod(NamedTuple):
    """The pod that Events are about. Without its uid, `kubectl describe pod` does not show them."""

    name: str
    uid: str


class Subject(NamedTuple):
    """What has changed, and its new state.

    name:     `/readyz`, `/healthz` or the name of a check.
    reason:   as in metrics and response bodies.
    cause:    for a failing endpoint: the first failing check.
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


class Changes(NamedTuple):
    """Changes that are written as one Event. Times are Unix seconds.

    names:  of the checks, or of one endpoint.
    more:   for a failing endpoint: the number of failing checks besides `subject.cause`.
    times:  how often the change has occurred.
    """

    subject: Subject
    names: tuple[str, ...]
    first: float
    last: float
    times: int = 1
    more: int = 0

    @property
    def key(self) -> tuple[Subject, tuple[str, ...]]:
        """Identifies changes that are counted in the same Event."""
        return self.subject, self.names

    @property
    def note(self) -> str:
        """The text of the Event: the change and its time, in at most 1024 bytes."""
        subject = self.subject
        is_one = len(self.names) == 1
        what = self.names[0] if is_one else f"{len(self.names)} checks"
        verb = (
            ("passes" if is_one else "pass") if subject.passing else ("fails" if is_one else "fail")
        )
        text = f"{what} {verb} since {_plain_time(self.last)}"
        if not subject.passing:
            text += f": {' '.join(filter(None, (subject.cause, subject.reason)))}"
            text += f" ({MEANINGS[subject.reason]})" if subject.reason in MEANINGS else ""
        if self.more:
            text += f"; {self.more} more check{'s fail' if self.more > 1 else ' fails'}"
        if self.times > 1:
            text += f"; {self.times} times since {_plain_time(self.first)}"
        return _bounded(text) if is_one else _listed(f"{text}: ", self.names)

    def as_event(self, name: str, namespace: str, pod: Pod) -> dict[str, Any]:
        """Return the body of the request that creates the Event."""
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
    """Return the field of an Event for something that has occurred at least twice."""
    return {"series": {"count": count, "lastObservedTime": micro_time(last)}}


def micro_time(at: float) -> str:
    """Return the time in RFC 3339 with exactly six digits, which Kubernetes' MicroTime needs."""
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")
    return moment.replace("+00:00", "Z")


def camel_case(reason: str) -> str:
    """Return `NotReady` for `not_ready`."""
    return "".join(word.capitalize() for word in reason.split("_"))


class PendingChanges:
    """The changes that are not yet written; those of one subject are counted together.

    The latest one is last.
    """

    def __init__(self) -> None:
        self._checks: dict[Subject, Changes] = {}
        self._endpoints: dict[Subject, Changes] = {}

    def __len__(self) -> int:
        return len(self._checks) + len(self._endpoints)

    def add(self, subject: Subject, at: float, more: int = 0) -> bool:
        """Add one change. Return False, and drop it, if there are too many others."""
        entries, most = self._checks, MAX_PENDING_CHECKS
        if subject.is_endpoint:
            entries, most = self._endpoints, MAX_PENDING_ENDPOINTS
        before = entries.pop(subject, None)
        if before is None and len(entries) >= most:
            return False
        changes = Changes(subject, (subject.name,), at, at, more=more)
        if before:
            changes = changes._replace(first=before.first, times=before.times + 1)
        entries[subject] = changes
        return True

    def take(self) -> Changes:
        """Remove and return the next changes: of an endpoint, or of all checks that changed alike.

        Raises KeyError if there are none.
        """
        if self._endpoints:
            return self._endpoints.pop(next(iter(self._endpoints)))
        if not self._checks:
            raise KeyError("nothing is pending")
        alike: dict[Subject, list[Changes]] = defaultdict(list)
        for each in self._checks.values():
            alike[each.subject._replace(name="")].append(each)
        together = next(iter(alike.values()))
        for each in together:
            del self._checks[each.subject]
        return Changes(
            together[0].subject._replace(name=""),
            tuple(sorted(each.subject.name for each in together)),
            min(each.first for each in together),
            max(each.last for each in together),
            max(each.times for each in together),
        )


def _plain_time(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _bounded(text: str) -> str:
    return text if len(text.encode()) <= MAX_NOTE else _cut(text, MAX_NOTE - 3) + "..."


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")


def _listed(head: str, names: Sequence[str]) -> str:
    """Return the head and as many of the names as the limit allows."""
    tail = f" and {len(names)} more"  # its maximum length
    room = MAX_NOTE - len(head.encode()) - len(tail)
    for shown, name in enumerate(names):
        room -= len(name.encode()) + len(", ")
        if room < 0:
            return _bounded(f"{head}{', '.join(names[:shown])} and {len(names) - shown} more")
    return head + ", ".join(names)
