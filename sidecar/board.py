"""The one thing that changes: the current health, and whoever listens to it."""

from collections.abc import Callable, Iterable

from sidecar.health.checks import Observation
from sidecar.health.state import Health, Transition

Listener = Callable[[Observation, tuple[Transition, ...]], None]


class Board:
    """Holds the current health; only its methods change it."""

    def __init__(self, health: Health, listeners: Iterable[Listener] = ()) -> None:
        self._health = health
        self._listeners = tuple(listeners)

    @property
    def health(self) -> Health:
        """The health as of now: an immutable value that the caller may keep."""
        return self._health

    def record(self, seen: Observation) -> None:
        """Takes in one observation and tells every listener, whether or not a status moved."""
        self._health, transitions = self._health.observe(seen)
        for listener in self._listeners:
            listener(seen, transitions)

    def replace(self, health: Health) -> None:
        """Goes on from another health: the current one under new settings."""
        self._health = health

    def drain(self) -> None:
        """Notes that this sidecar has been asked to stop."""
        self._health = self._health.drain()
