"""Reads the server's repository index, and adds and removes the models that are checked."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from sidecar.core.checks import REPOSITORY_INDEX, SERVER_LIVE, Observation, canary, model_ready
from sidecar.core.reasons import Reason
from sidecar.core.repository import (
    NO_DISCOVERY,
    Discovered,
    DiscoveryRules,
    Repository,
    Row,
    State,
)
from sidecar.core.status import Status
from sidecar.probes.repository import TIMEOUT, Index
from sidecar.store import Cause, Change, HealthStore
from sidecar.waiting import first_of

logger = logging.getLogger(__name__)

# An index takes MLServer up to a second, during which it answers nothing else. The period is at
# least this many times the duration of the last one.
MOST_TIME = 50
MAX_REASON = 500  # characters of the reason of a failed load, in the log

WITHOUT_INDEX = frozenset({Reason.UNIMPLEMENTED, Reason.DENIED})
NO_INDEX = (
    "models cannot be discovered, because RepositoryIndex is %s by the server: "
    "list them in `models`, and set `discover: false`"
)
LEFT_OUT = "discover_maximum_models is exceeded: %d discovered models are not checked"


class Discovery:
    """Calls RepositoryIndex at an interval, and updates the set of discovered models.

    rules:    returns the current rules; None while discovery is off.
    index:    calls RepositoryIndex.
    store:    returns the store, for the results of the check `repository`.
    changed:  called with the repository when its models have changed.
    """

    def __init__(
        self,
        rules: Callable[[], DiscoveryRules | None],
        *,
        index: Callable[[], Awaitable[Index]],
        store: Callable[[], HealthStore],
        changed: Callable[[Repository], None],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.repository = Repository()
        self._rules = rules
        self._index = index
        self._store = store
        self._changed = changed
        self._clock = clock
        self._sleep = sleep
        self._due = asyncio.Event()
        self._failed: dict[tuple[str, str], str] = {}
        self._is_told = False

    def __call__(self, change: Change) -> None:
        """Observe changes: a server that is back, or other settings, make an index due."""
        if change.cause in (Cause.RELOAD, Cause.OTHER_SERVER) or any(
            moved.check == SERVER_LIVE and moved.after is Status.SERVING
            for moved in change.transitions
        ):
            self._due.set()

    def forget(self) -> None:
        """Forget the repository, because another server is checked from now on."""
        self.repository, self._is_told = Repository(), False

    @property
    def discovered(self) -> Discovered:
        """The checks that come from discovery, in addition to the configured ones."""
        rules = self._rules()
        if rules is None:
            return NO_DISCOVERY
        names = [name for name in self.repository.models if name not in rules.configured]
        checks = (REPOSITORY_INDEX, *map(model_ready, names))
        canaries = tuple(map(canary, names)) if rules.canaries else ()
        return Discovered(checks, 3 * rules.period + MOST_TIME * TIMEOUT, canaries)

    async def run(self) -> None:
        """Read the index until cancelled."""
        while True:
            self._due.clear()
            rules = self._rules()
            if rules is None:
                self.repository = Repository()
                await self._due.wait()
            else:
                pause = await self._look(rules)
                await first_of(self._due.wait(), self._sleep(pause))

    async def _look(self, rules: DiscoveryRules) -> float:
        """Read the index once; return the seconds until the next time."""
        started = self._clock()
        found = await self._index()
        took = self._clock() - started
        reason, detail = found.reason, found.detail
        if reason is Reason.OK:
            after = self.repository.then(found.rows, rules)
            reason, detail = after.reason(rules)
            self._log_failures(after.rows)
            before, self.repository = self.repository, after
            if after.left_out and after.left_out != before.left_out:
                logger.warning(LEFT_OUT, after.left_out)
            if after.models != before.models:
                self._changed(after)
        elif reason in WITHOUT_INDEX and not self._is_told:
            self._is_told = True
            logger.warning(NO_INDEX, reason)
        self._store().record(Observation(REPOSITORY_INDEX, reason, self._clock(), took, detail))
        return max(rules.period, MOST_TIME * took)

    def _log_failures(self, rows: Iterable[Row]) -> None:
        failed = {
            (row.name, row.version): row.reason[:MAX_REASON]
            for row in rows
            if row.state is State.UNAVAILABLE and row.reason
        }
        for model, reason in failed.items():
            if self._failed.get(model) != reason:
                logger.warning("model %s is unavailable: %s", ":".join(filter(None, model)), reason)
        self._failed = failed
