"""The current health, the only state that changes, and the observers of its changes."""

from collections.abc import Iterable
from enum import StrEnum, auto
from typing import NamedTuple, Protocol

from sidecar.core.checks import Observation
from sidecar.core.state import Health, Transition


class Cause(StrEnum):
    """Why the health changed."""

    RESULT = auto()  # a result of one check
    CANARY = auto()  # a canary was sent or skipped, or a restart is wanted, or no longer
    RELOAD = auto()  # new settings for the same server
    CHECKS = auto()  # models were discovered or removed
    OTHER_SERVER = auto()  # new settings for another server
    DRAIN = auto()  # the sidecar was asked to stop


class Change(NamedTuple):
    """One change of the health.

    `health` is the one after the change. `observation` is set only for a RESULT;
    `transitions` are the statuses that have changed, often none.
    """

    cause: Cause
    health: Health
    observation: Observation | None = None
    transitions: tuple[Transition, ...] = ()


class Observer(Protocol):
    """Notified of each change of the health: the log, the history, the counters."""

    def __call__(self, change: Change, /) -> None:
        """Handle one change, in the event loop: it must neither block nor raise."""
        ...


class HealthStore:
    """Holds the current health; only its methods change it."""

    def __init__(self, health: Health, observers: Iterable[Observer] = ()) -> None:
        self._health = health
        self._observers = tuple(observers)

    @property
    def health(self) -> Health:
        """The current health, an immutable value that the caller may keep."""
        return self._health

    def record(self, observation: Observation) -> None:
        """Record one observation, unless its check was removed meanwhile."""
        if observation.check not in self._health.checks:
            return
        health, transitions = self._health.observe(observation)
        self._publish(Change(Cause.RESULT, health, observation, transitions))

    def reload(self, health: Health, *, other_server: bool) -> None:
        """Continue with this health, which is that of new settings."""
        cause = Cause.OTHER_SERVER if other_server else Cause.RELOAD
        self._publish(Change(cause, health))

    def change_checks(self, health: Health) -> None:
        """Continue with this health, which has other checks."""
        self._publish(Change(Cause.CHECKS, health))

    def replace(self, health: Health) -> None:
        """Continue with this health, in which no check has a new result."""
        if health != self._health:
            self._publish(Change(Cause.CANARY, health))

    def drain(self) -> None:
        """Note that the sidecar was asked to stop."""
        self._publish(Change(Cause.DRAIN, self._health.drain()))

    def _publish(self, change: Change) -> None:
        self._health = change.health
        for observer in self._observers:
            observer(change)
