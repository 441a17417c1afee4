"""The models in the server's repository: their states, and which of them are checked."""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import NamedTuple

from sidecar.core.checks import REPOSITORY_INDEX, Check
from sidecar.core.reasons import Reason
from sidecar.core.status import CheckState

# Triton's reason for a model that was unloaded on request.
UNLOADED_ON_PURPOSE = "unloaded"


class State(StrEnum):
    """The state of a model in the repository."""

    READY = "ready"
    LOADING = "loading"
    UNLOADING = "unloading"
    UNAVAILABLE = "unavailable"  # it failed to load, or was unloaded by MLServer
    UNLOADED = "unloaded"  # on request; only Triton reports it
    NOT_LOADED = "not_loaded"  # never loaded; Triton reports no state
    MISSING = "missing"  # configured, but not in the repository


# Models in these states are checked; others do not gate readiness.
CHECKED = frozenset({State.READY, State.LOADING, State.UNLOADING, State.UNAVAILABLE})

# As reported by the servers; MLServer reports UNKNOWN for a model that is loading.
STATES: Mapping[str, State] = {
    "READY": State.READY,
    "LOADING": State.LOADING,
    "UNKNOWN": State.LOADING,
    "UNLOADING": State.UNLOADING,
    "": State.NOT_LOADED,
}


class Row(NamedTuple):
    """One row of the index: one version of a model."""

    name: str
    version: str
    state: State
    reason: str = ""


def row(name: str, version: str, state: str, reason: str) -> Row:
    """Return the row for a row of the server's index."""
    if state == "UNAVAILABLE" and reason == UNLOADED_ON_PURPOSE:
        return Row(name, version, State.UNLOADED)
    return Row(name, version, STATES.get(state, State.UNAVAILABLE), reason)


class DiscoveryRules(NamedTuple):
    """The settings of discovery. Durations are in seconds.

    configured:  the names of the configured models.
    canaries:    whether each discovered model has a canary.
    exclude:     shell-style patterns of model names.
    minimum:     the minimum number of models.
    maximum:     the maximum number of models that are checked.
    """

    period: float = 30
    configured: frozenset[str] = frozenset()
    canaries: bool = False
    exclude: tuple[str, ...] = ()
    minimum: int = 1
    maximum: int = 1000

    def is_excluded(self, name: str) -> bool:
        """Whether a model is excluded by a pattern."""
        return any(fnmatchcase(name, pattern) for pattern in self.exclude)


class Repository(NamedTuple):
    """The state of the repository.

    rows:      of the last index, and one for each configured model that is not in it.
    models:    the names of the discovered models that are checked.
    left_out:  the number of models above `maximum`, which are not checked.
    absent:    the checked models that were not in the last index.
    known:     the number of models that can be checked, configured ones included.
    """

    rows: tuple[Row, ...] = ()
    models: tuple[str, ...] = ()
    left_out: int = 0
    absent: frozenset[str] = frozenset()
    known: int = 0

    @property
    def states(self) -> Mapping[State, int]:
        """The number of rows in each state."""
        counted = Counter(row.state for row in self.rows)
        return {state: counted[state] for state in State}

    def then(self, rows: Iterable[Row], rules: DiscoveryRules) -> "Repository":
        """Return the repository after one more index.

        A model is removed when two consecutive indexes do not have it.
        """
        rows = tuple(rows)
        listed = {row.name for row in rows}
        asked = dict.fromkeys(
            row.name for row in rows if row.state in CHECKED and not rules.is_excluded(row.name)
        )
        found = [name for name in asked if name not in rules.configured]
        absent = frozenset(
            name
            for name in self.models
            if name not in listed | rules.configured | self.absent and not rules.is_excluded(name)
        )
        # Models that are already checked are kept, whatever the order of the index.
        before = [name for name in self.models if name in absent or name in found]
        models = dict.fromkeys((*before, *found))
        missing = [Row(name, "", State.MISSING) for name in sorted(rules.configured - listed)]
        return Repository(
            (*rows, *missing),
            tuple(models)[: rules.maximum],
            max(0, len(models) - rules.maximum),
            absent,
            len(asked),
        )

    def reason(self, rules: DiscoveryRules) -> tuple[Reason, str]:
        """Return the reason and the text for an index that was received."""
        if self.known >= rules.minimum:
            return Reason.OK, ""
        return Reason.NOT_READY, f"models: {self.known}, minimum_models: {rules.minimum}"


class Discovered(NamedTuple):
    """The checks that come from discovery; they do not gate /startupz.

    checks:    the index, if discovery is on, and the models.
    max_age:   the age in seconds at which an index becomes stale.
    canaries:  of the models, with generated requests.
    """

    checks: tuple[Check, ...] = ()
    max_age: float = 0
    canaries: tuple[Check, ...] = ()

    def mark(self, check: Check, state: CheckState) -> CheckState:
        """Return the state of a check, marked with what depends on discovery."""
        gates = check not in self.checks
        max_age = self.max_age if check == REPOSITORY_INDEX else None
        if (state.gates_startup, state.max_age) == (gates, max_age):
            return state
        return state._replace(gates_startup=gates, max_age=max_age)


NO_DISCOVERY = Discovered()
