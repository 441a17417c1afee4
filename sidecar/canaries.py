"""Decides when canaries are sent: at once when a model becomes ready, then every period."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush

from sidecar.core.canary import CanaryRules, Counters
from sidecar.core.checks import CANARY, MODEL, Check, Observation, canary, model_ready
from sidecar.core.reasons import Reason
from sidecar.core.restarts import review
from sidecar.core.snapshot import Snapshot
from sidecar.core.status import Status
from sidecar.store import Change, HealthStore
from sidecar.waiting import first_of

logger = logging.getLogger(__name__)

UNCONFIGURED = (
    "%s is unconfigured: the model is not proven, because no request is known that it takes; "
    "give one, see docs/canary.md: %s"
)
FROM_CACHE = (
    "%s was answered from the server's response cache, which proves nothing; "
    "give a request that is not cached, or none"
)

# Seconds until the next canary after one that was abandoned; doubled each time, up to the maximum.
FIRST_PAUSE, LAST_PAUSE = 300, 3600

JITTER = 0.1  # the maximum fraction by which an interval is shortened

# After a failure the next canary is sent after the recovery period, which then doubles each time.
MOST_DOUBLINGS = 16


@dataclass(slots=True)
class Plan:
    """When the next canary of a model is due, and the outcome of earlier ones.

    due:         monotonic seconds; None while one is in flight or the model is not ready.
    is_fixed:    it is not made due earlier when the model becomes ready.
    failures:    consecutive failures.
    given_up:    consecutive canaries that were abandoned.
    baseline:    the model's counters after the last success.
    from_cache:  a reply from the server's response cache was seen and logged.
    """

    due: float | None = None
    in_flight: bool = False
    is_fixed: bool = False
    failures: int = 0
    given_up: int = 0
    baseline: Counters | None = None
    from_cache: bool = False


class CanaryRunner:
    """Sends the canaries of every model that has one.

    snapshot:     returns the current snapshot.
    ask:          sends one canary and yields its results, see CanaryProbe.
    statistics:   returns the model's counters, or None.
    concurrency:  maximum number in flight; a canary that has timed out frees its slot.
    recovery:     seconds until the next canary after a failure.
    uniform:      returns a random number between two numbers.
    """

    def __init__(
        self,
        store: HealthStore,
        snapshot: Callable[[], Snapshot],
        *,
        ask: Callable[[Check, float, Callable[[], None]], AsyncIterator[Observation]],
        statistics: Callable[[Check], Awaitable[Counters | None]],
        concurrency: int,
        recovery: float,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        uniform: Callable[[float, float], float],
    ) -> None:
        self._store = store
        self._snapshot = snapshot
        self._ask = ask
        self._statistics = statistics
        self._slots = concurrency
        self._recovery = recovery
        self._clock = clock
        self._sleep = sleep
        self._uniform = uniform
        self._plans: dict[Check, Plan] = {}
        self._queue: list[tuple[float, Check]] = []  # a heap; ignored if not as planned
        self._changed = asyncio.Event()

    def __call__(self, change: Change) -> None:
        """Observe changes: a model that has become ready gets a canary at once."""
        for moved in change.transitions:
            if moved.check.kind != MODEL or moved.after is not Status.SERVING:
                continue
            check = canary(moved.check.model, moved.check.version)
            plan = self._plans.get(check)
            if plan is not None and not (plan.in_flight or plan.is_fixed):
                self._plan(check, 0)

    async def run(self) -> None:
        """Send canaries until cancelled.

        One task waits for all of them, because grpc.aio iterates over every task of
        the process whenever a channel is closed.
        """
        for check in self._store.health.checks:
            if check.kind == CANARY:
                self._plans[check] = Plan()
                self._plan(check, 0)
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._changed.clear()
                for check in self._take_due():
                    tasks.create_task(self._send_in_slot(check))
                await self._wait_until_due()

    def _plan(self, check: Check, seconds: float, *, is_fixed: bool = False) -> None:
        plan = self._plans[check]
        plan.due, plan.in_flight, plan.is_fixed = self._clock() + seconds, False, is_fixed
        heappush(self._queue, (plan.due, check))
        self._changed.set()

    def _take_due(self) -> Iterator[Check]:
        """Return the canaries to send now; each takes a slot."""
        while self._slots and self._queue and self._queue[0][0] <= self._clock():
            due, check = heappop(self._queue)
            plan = self._plans[check]
            if plan.due != due:
                continue
            plan.due = None
            health = self._store.health
            model = health.checks[model_ready(check.model, check.version)]
            if model.status is not Status.SERVING or health.draining:
                continue
            if health.live.last_reason is Reason.SHUTTING_DOWN:
                self._plan(check, self._recovery)
                continue
            plan.in_flight = True
            self._slots -= 1
            yield check

    async def _wait_until_due(self) -> None:
        changed = self._changed.wait()
        if self._slots and self._queue:
            await first_of(changed, self._sleep(max(0, self._queue[0][0] - self._clock())))
        else:
            await changed

    def _free_slot(self) -> None:
        self._slots += 1
        self._changed.set()

    async def _send_in_slot(self, check: Check) -> None:
        """Send a canary, unless real traffic makes it unnecessary, and plan the next one."""
        plan = self._plans[check]
        now = None if plan.baseline is None else await self._statistics(check)
        if now is not None and now.began_again(plan.baseline):
            self._store.replace(self._store.health.reset_canaries([check], self._clock()))
        elif now is not None and now.proves(plan.baseline) and self._may_skip(check):
            self._store.replace(self._store.health.skip_canary(check, self._clock()))
            plan.baseline = now
            self._free_slot()
            self._plan_after(check, 0)
            return
        last = await self._send(check)
        if last is None:  # the model was no longer ready when it was sent
            self._plan(check, self._recovery, is_fixed=True)
        elif last.pending:
            self._plan(check, min(LAST_PAUSE, FIRST_PAUSE * 2**plan.given_up), is_fixed=True)
            plan.given_up += 1
        elif last.reason is Reason.OK:
            plan.failures = plan.given_up = 0
            plan.baseline = await self._statistics(check)
            self._warn_of_cache(check, now)
            self._plan_after(check, 0)
        else:
            plan.failures = min(plan.failures + 1, MOST_DOUBLINGS)
            self._plan_after(check, plan.failures)

    async def _send(self, check: Check) -> Observation | None:
        """Send one canary, record its observations, and return the last one."""
        last = None

        def sent() -> None:
            self._store.replace(self._store.health.open_canary(check, self._clock()))

        has_slot = True
        try:
            async for seen in self._ask(check, self._rules.timeout, sent):
                last = seen
                if has_slot:
                    self._free_slot()
                    has_slot = False
                self._record(seen)
        finally:
            if has_slot:
                self._free_slot()
            self._store.replace(self._store.health.close_canary(check))
        return last

    def _record(self, seen: Observation) -> None:
        was_unconfigured = self._is_unconfigured(seen.check)
        self._store.record(seen)
        if self._is_unconfigured(seen.check) and not was_unconfigured:
            logger.warning(UNCONFIGURED, seen.check.name, seen.detail)
        restarts = review(self._snapshot())
        self._store.replace(self._store.health._replace(restarts=restarts))

    def _warn_of_cache(self, check: Check, before: Counters | None) -> None:
        plan = self._plans[check]
        if plan.from_cache or plan.baseline is None or not plan.baseline.is_from_cache(before):
            return
        plan.from_cache = True
        logger.warning(FROM_CACHE, check.name)

    def _plan_after(self, check: Check, failures: int) -> None:
        """Plan the next canary after this many consecutive failures."""
        period = self._rules.period
        seconds = period if not failures else min(period, self._recovery * 2 ** (failures - 1))
        if self._store.health.checks[check].status is Status.UNKNOWN and not failures:
            seconds = min(period, self._recovery)  # in the warm-up
        # Spreads the canaries of many models and pods.
        self._plan(check, seconds * self._uniform(1 - JITTER, 1))

    def _is_unconfigured(self, check: Check) -> bool:
        state = self._store.health.checks.get(check)
        return state is not None and state.canary is not None and state.canary.unconfigured

    def _may_skip(self, check: Check) -> bool:
        state = self._store.health.checks[check]
        known = state.canary
        return state.status is Status.SERVING and known is not None and known.may_skip()

    @property
    def _rules(self) -> CanaryRules:
        return self._store.health.canaries.rules
