"""What is known of one namespace, kept up to date by watches, and waiting for it to change."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self, TypeVar

import pytest

from tests.e2e.kubectl import Kubectl, Object, Watch

T = TypeVar("T")

WATCHED = ("pods", "endpointslices", "deployments", "events")
PAUSE = 0.5  # between two questions to what cannot be watched


class Stopped(Exception):
    """The suite ends before this was waited for to its end."""


@dataclass(frozen=True)
class Change:
    """What a watch told: the kind, the object, and when that arrived here."""

    kind: str
    item: Object
    at: float


class Cluster:
    """A namespace: kubectl to change it, and what its watches have told so far."""

    def __init__(self, kubectl: Kubectl) -> None:
        self.kubectl = kubectl
        self.changes: list[Change] = []
        self._items: dict[str, dict[str, Object]] = {kind: {} for kind in WATCHED}
        self._changed = threading.Condition()
        self._watches: list[Watch] = []
        self._stopped = False

    @contextlib.contextmanager
    def watching(self) -> Iterator[Self]:
        """Keeps it up to date meanwhile."""
        with contextlib.ExitStack() as stack:
            for kind in WATCHED:
                watch = self.kubectl.watch(kind, self._teller(kind))
                self._watches.append(stack.enter_context(watch))
            try:
                yield self
            finally:
                self.stop()

    def stop(self) -> None:
        """Ends all that waits."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def now(self, kind: str) -> list[Object]:
        """The objects of a kind that there are."""
        return list(self._items[kind].values())

    def wait(self, condition: Callable[[], T], within: float) -> T:
        """The first true value of a condition on what is known; it is asked after each change."""
        deadline = time.monotonic() + within
        while True:
            seen = len(self.changes)
            if value := condition():
                return value
            self._check(value, deadline, within)
            with self._changed:
                if len(self.changes) == seen and not self._stopped:
                    self._changed.wait(PAUSE)

    def ask(self, question: Callable[[], T], within: float) -> T:
        """The first true answer to a question that costs a command."""
        deadline = time.monotonic() + within
        while not (value := question()):
            self._check(value, deadline, within)
            with self._changed:
                self._changed.wait_for(self._has_stopped, PAUSE)
        return value

    def tell(self, kind: str, change: str, item: Object) -> None:
        """Takes over what a watch told."""
        with self._changed:
            name = item["metadata"]["name"]
            if change == "DELETED":
                self._items[kind].pop(name, None)
            else:
                self._items[kind] = {**self._items[kind], name: item}
            self.changes.append(Change(kind, item, time.monotonic()))
            self._changed.notify_all()

    def _has_stopped(self) -> bool:
        return self._stopped

    def _teller(self, kind: str) -> Callable[[str, Object], None]:
        return lambda change, item: self.tell(kind, change, item)

    def _check(self, value: object, deadline: float, within: float) -> None:
        if self._stopped:
            raise Stopped
        for watch in self._watches:
            watch.check()
        if time.monotonic() > deadline:
            pytest.fail(f"after {within:g} s the condition is still {value!r}")
