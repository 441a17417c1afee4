"""When canaries are sent: at once when a model becomes ready, then each period."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

from sidecar.core.canary import CanaryRules, Counters
from sidecar.core.checks import CANARY, Check, Observation, model_ready
from sidecar.core.reasons import Reason
from sidecar.core.restarts import review
from sidecar.core.snapshot import Snapshot
from sidecar.core.status import Status
from sidecar.store import Change, HealthStore

logger = logging.getLogger(__name__)

UNCONFIGURED = (
    "%s is unconfigured: the model is not proven, because no request is known that it takes; "
    "give one, see docs/canary.md: %s"
)
FROM_CACHE = (
    "%s was answered from the server's response cache, which proves nothing; "
    "give a request that is not cached, or none"
)

# Seconds until the next canary after one that was given up; doubled each time, up to the last.
FIRST_PAUSE, LAST_PAUSE = 300, 3600

JITTER = 0.1  # by so much of itself a pause is shorter

# After a failure the next canary comes after the recovery period, then twice as much, and so on.
MOST_DOUBLINGS = 16


class CanaryRunner:
    """Sends the canaries of every model that has one, each in a task of its own.

    snapshot:     of this moment.
    ask:          sends one canary and yields its results, see CanaryProbe.
    statistics:   the model's own counters, or None.
    concurrency:  canaries in flight at once; one that has timed out frees its slot.
    recovery:     seconds until the next one after a failure.
    uniform:      a random number between two others.
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
        self._slots = asyncio.Semaphore(concurrency)
        self._recovery = recovery
        self._clock = clock
        self._sleep = sleep
        self._uniform = uniform
        self._ready: dict[Check, asyncio.Event] = {}

    def __call__(self, change: Change) -> None:
        """The observer: wakes the canary of a model that has become ready."""
        for moved in change.transitions:
            event = self._ready.get(moved.check)
            if event is not None and moved.after is Status.SERVING:
                event.set()

    async def run(self) -> None:
        """Sends canaries until cancelled."""
        checks = [check for check in self._store.health.checks if check.kind == CANARY]
        async with asyncio.TaskGroup() as tasks:
            for check in checks:
                self._ready[_model_of(check)] = asyncio.Event()
                tasks.create_task(self._send_all(check))

    async def _send_all(self, check: Check) -> None:
        failures, gave_up, is_cached = 0, 0, False
        baseline: Counters | None = None
        while True:
            await self._wait_until_ready(check)
            now = None if baseline is None else await self._statistics(check)
            if now is not None and now.began_again(baseline):
                self._store.replace(self._store.health.reset_canaries([check], self._clock()))
            elif now is not None and now.proves(baseline) and self._may_skip(check):
                self._store.replace(self._store.health.skip_canary(check, self._clock()))
                baseline = now
                await self._pause(check, 0)
                continue
            last = await self._send(check)
            if last is None:  # the model was not ready when it was asked once more
                await self._sleep(self._recovery)
                continue
            if last.pending:
                await self._sleep(min(LAST_PAUSE, FIRST_PAUSE * 2**gave_up))
                gave_up += 1
                continue
            if last.reason is Reason.OK:
                failures = gave_up = 0
                baseline = await self._statistics(check)
                if baseline is not None and baseline.is_from_cache(now) and not is_cached:
                    is_cached = True
                    logger.warning(FROM_CACHE, check.name)
            else:
                failures = min(failures + 1, MOST_DOUBLINGS)
            await self._pause(check, failures)

    async def _send(self, check: Check) -> Observation | None:
        """Sends one canary, and records what comes of it; the last observation."""
        last = None

        def sent() -> None:
            self._store.replace(self._store.health.open_canary(check, self._clock()))

        await self._slots.acquire()
        has_slot = True
        try:
            async for seen in self._ask(check, self._rules.timeout, sent):
                last = seen
                if has_slot:
                    self._slots.release()
                    has_slot = False
                self._record(seen)
        finally:
            if has_slot:
                self._slots.release()
            self._store.replace(self._store.health.close_canary(check))
        return last

    def _record(self, seen: Observation) -> None:
        was_unconfigured = self._is_unconfigured(seen.check)
        self._store.record(seen)
        if self._is_unconfigured(seen.check) and not was_unconfigured:
            logger.warning(UNCONFIGURED, seen.check.name, seen.detail)
        snapshot = self._snapshot()
        restarts = review(snapshot)
        self._store.replace(self._store.health._replace(restarts=restarts))

    async def _wait_until_ready(self, check: Check) -> None:
        """Until the model is ready by the rounds, and this sidecar is not draining."""
        model = _model_of(check)
        while True:
            event = self._ready[model]
            event.clear()
            health = self._store.health
            shutting_down = health.live.last_reason is Reason.SHUTTING_DOWN
            if health.checks[model].status is Status.SERVING and not (
                health.draining or shutting_down
            ):
                return
            await event.wait()

    def _is_unconfigured(self, check: Check) -> bool:
        state = self._store.health.checks.get(check)
        return state is not None and state.canary is not None and state.canary.unconfigured

    def _may_skip(self, check: Check) -> bool:
        state = self._store.health.checks[check]
        known = state.canary
        return state.status is Status.SERVING and known is not None and known.may_skip()

    async def _pause(self, check: Check, failures: int) -> None:
        """The time to the next canary; a model that becomes ready again is not kept waiting."""
        period = self._rules.period
        seconds = period if not failures else min(period, self._recovery * 2 ** (failures - 1))
        state = self._store.health.checks[check]
        if state.status is Status.UNKNOWN and not failures:
            seconds = min(period, self._recovery)  # in the warm-up
        event = self._ready[_model_of(check)]
        event.clear()
        # So that the canaries of many models and pods do not come at once.
        seconds *= self._uniform(1 - JITTER, 1)
        sleeping = asyncio.ensure_future(self._sleep(seconds))
        waking = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait({sleeping, waking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()

    @property
    def _rules(self) -> CanaryRules:
        return self._store.health.canaries.rules


def _model_of(check: Check) -> Check:
    return model_ready(check.model, check.version)
