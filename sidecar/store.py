"""The one thing that changes: the current health, and who is notified of each change."""

from collections.abc import Iterable
from enum import StrEnum, auto
from typing import NamedTuple, Protocol

from sidecar.core.checks import Observation
from sidecar.core.state import Health, Transition


class Cause(StrEnum):
    """Why the health changed."""

    RESULT = auto()  # of one check
    CANARY = auto()  # a canary was sent or skipped, or a restart is wanted or no longer
    RELOAD = auto()  # other settings are in force, for the same server
    CHECKS = auto()  # models were discovered, or are gone
    OTHER_SERVER = auto()  # other settings are in force, for another server
    DRAIN = auto()  # this sidecar has been asked to stop


class Change(NamedTuple):
    """One change of the health, as every observer is notified of it.

    `health` is the one after it. `observation` is there for a RESULT alone;
    `transitions` are the statuses that it moved, often none.
    """

    cause: Cause
    health: Health
    observation: Observation | None = None
    transitions: tuple[Transition, ...] = ()


class Observer(Protocol):
    """What is notified of each change of the health: the log, the history, the counters."""

    def __call__(self, change: Change, /) -> None:
        """Takes in one change, in the event loop: it must not block, and must not raise."""
        ...


class HealthStore:
    """Holds the current health; only its methods change it."""

    def __init__(self, health: Health, observers: Iterable[Observer] = ()) -> None:
        self._health = health
        self._observers = tuple(observers)

    @property
    def health(self) -> Health:
        """The health as of now: an immutable value that the caller may keep."""
        return self._health

    def record(self, observation: Observation) -> None:
        """Takes in one observation, unless its check was removed while it was asked."""
        if observation.check not in self._health.checks:
            return
        health, transitions = self._health.observe(observation)
        self._publish(Change(Cause.RESULT, health, observation, transitions))

    def reload(self, health: Health, *, other_server: bool) -> None:
        """Goes on with this health: that of the new settings."""
        cause = Cause.OTHER_SERVER if other_server else Cause.RELOAD
        self._publish(Change(cause, health))

    def change_checks(self, health: Health) -> None:
        """Goes on with this health, in which other checks are asked."""
        self._publish(Change(Cause.CHECKS, health))

    def replace(self, health: Health) -> None:
        """Goes on with this health, in which no check has a new result."""
        if health != self._health:
            self._publish(Change(Cause.CANARY, health))

    def drain(self) -> None:
        """Notes that this sidecar has been asked to stop."""
        self._publish(Change(Cause.DRAIN, self._health.drain()))

    def _publish(self, change: Change) -> None:
        self._health = change.health
        for observer in self._observers:
            observer(change)
