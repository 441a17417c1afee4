"""The models in the server's repository: which are checked, and what is known of the others."""

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import NamedTuple

from sidecar.core.checks import REPOSITORY_INDEX, Check
from sidecar.core.reasons import Reason
from sidecar.core.status import CheckState

# Triton's reason for a model that was unloaded on purpose.
UNLOADED_ON_PURPOSE = "unloaded"


class State(StrEnum):
    """The state of a model in the repository."""

    READY = "ready"
    LOADING = "loading"
    UNLOADING = "unloading"
    UNAVAILABLE = "unavailable"  # its load failed, or MLServer has unloaded it
    UNLOADED = "unloaded"  # on purpose, as Triton says it
    NOT_LOADED = "not_loaded"  # never, as Triton says it by no state
    MISSING = "missing"  # configured, and not in the repository


# What is checked; the others gate nothing.
CHECKED = frozenset({State.READY, State.LOADING, State.UNLOADING, State.UNAVAILABLE})

# As the servers write them; MLServer calls a model that loads UNKNOWN.
STATES: Mapping[str, State] = {
    "READY": State.READY,
    "LOADING": State.LOADING,
    "UNKNOWN": State.LOADING,
    "UNLOADING": State.UNLOADING,
    "": State.NOT_LOADED,
}


class Row(NamedTuple):
    """One row of the index: a version of a model."""

    name: str
    version: str
    state: State
    reason: str = ""


def row(name: str, version: str, state: str, reason: str) -> Row:
    """The row that a server writes so."""
    if state == "UNAVAILABLE" and reason == UNLOADED_ON_PURPOSE:
        return Row(name, version, State.UNLOADED)
    return Row(name, version, STATES.get(state, State.UNAVAILABLE), reason)


class DiscoveryRules(NamedTuple):
    """The settings of the discovery. Durations are seconds.

    configured:  the names of the models that are configured.
    canaries:    whether each discovered model has a canary.
    exclude:     patterns of names, as a shell has them.
    minimum:     so many models have to be there.
    maximum:     so many are checked at most.
    """

    period: float = 30
    configured: frozenset[str] = frozenset()
    canaries: bool = False
    exclude: tuple[str, ...] = ()
    minimum: int = 1
    maximum: int = 1000

    def is_excluded(self, name: str) -> bool:
        """Whether a model is not to be checked."""
        return any(fnmatchcase(name, pattern) for pattern in self.exclude)


class Repository(NamedTuple):
    """What is known of the repository.

    rows:      of the last index, and a row for each configured model that it lacks.
    models:    the discovered models that are checked, by name.
    left_out:  how many more there are than may be checked.
    absent:    of the checked ones, those that the last index lacked.
    known:     how many models may be asked: the configured ones among them.
    """

    rows: tuple[Row, ...] = ()
    models: tuple[str, ...] = ()
    left_out: int = 0
    absent: frozenset[str] = frozenset()
    known: int = 0

    @property
    def states(self) -> Mapping[State, int]:
        """How many rows there are of each state."""
        counted = Counter(row.state for row in self.rows)
        return {state: counted[state] for state in State}

    def then(self, rows: Iterable[Row], rules: DiscoveryRules) -> "Repository":
        """The repository after one more index.

        A model that the index lacks is checked until it is missing a second time.
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
        # Those that are checked already stay so, whatever the order of the index.
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
        """What an index that was answered comes to."""
        if self.known >= rules.minimum:
            return Reason.OK, ""
        return Reason.NOT_READY, f"models: {self.known}, minimum_models: {rules.minimum}"


class Discovered(NamedTuple):
    """What is asked because of the discovery; it does not gate /startupz.

    checks:    the index, if there is a discovery, and the models.
    max_age:   how old an index may be, in seconds.
    canaries:  of the models, by requests that are built.
    """

    checks: tuple[Check, ...] = ()
    max_age: float = 0
    canaries: tuple[Check, ...] = ()

    def mark(self, check: Check, state: CheckState) -> CheckState:
        """The state of a check, with what the discovery says of it."""
        gates = check not in self.checks
        max_age = self.max_age if check == REPOSITORY_INDEX else None
        if (state.gates_startup, state.max_age) == (gates, max_age):
            return state
        return state._replace(gates_startup=gates, max_age=max_age)


NO_DISCOVERY = Discovered()
