"""Decides when each check is probed, and how many at once; a changed connection starts a round."""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from sidecar.core.checks import (
    CANARY,
    REPOSITORY_INDEX,
    SERVER_LIVE,
    SERVER_READY,
    Check,
    Observation,
)
from sidecar.core.reasons import REASONS, Reason
from sidecar.core.schedule import CheckSchedule, Schedule
from sidecar.core.status import Status
from sidecar.ratelimit import TokenBucket
from sidecar.store import HealthStore

# How many consecutive rounds may be started by a lost or new connection; then one per recovery
# period.
BURST = 10


class Scheduler:
    """Probes every check of the store, in one round after another.

    A check whose kind has its own schedule is probed outside the rounds, and never
    twice at once.

    schedule:         may be changed at any time; applies from the end of the current round or
                      probe.
    ask:              probes one check within this many seconds; must end by itself, even if it
                      fails.
    wait_changed:     waits for a change; returns whether a connection is established.
    clock, sleep:     return monotonic seconds, and wait for some.
    uniform:          returns a random number between two numbers.
    """

    def __init__(
        self,
        store: HealthStore,
        schedule: Schedule,
        *,
        ask: Callable[[Check, float], Awaitable[Observation]],
        wait_changed: Callable[[], Awaitable[bool]],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        uniform: Callable[[float, float], float],
    ) -> None:
        self._store = store
        self.schedule = schedule
        self._ask = ask
        self._wait_changed = wait_changed
        self._clock = clock
        self._sleep = sleep
        self._uniform = uniform
        self._live_asked_at = math.inf  # not before the first round
        self._own: dict[Check, asyncio.Task[None]] = {}

    async def run(self, done: Callable[[], bool] = lambda: False) -> None:
        """Poll until cancelled, or until `done` returns true at the end of a round."""
        change = asyncio.ensure_future(self._wait_changed())
        bursts = {True: TokenBucket(BURST), False: TokenBucket(BURST)}
        due = self._clock() + self._uniform(0, self.schedule.jitter * self._period())
        try:
            while True:
                due = await self._idle(due, change)
                if change.done():
                    established = change.result()
                    change = asyncio.ensure_future(self._wait_changed())
                    if established and not self._was_silent():
                        continue  # the last round was answered over this connection
                    # A server that drops every connection must not cause rounds without end,
                    # but the loss of a connection that was just established starts one.
                    recovery, burst = self.schedule.rounds.recovery_period, bursts[established]
                    least = min(due, burst.available_at(recovery))
                    await self._until(least, change if established else None)
                    burst.take(self._clock(), recovery)
                started = self._clock()
                await self.round()
                self._start_own()
                if done():
                    return
                # If a round took longer than the period, the next one starts at
                # once; rounds that were due meanwhile are skipped.
                due = started + self._spread(self._period())
        finally:
            for task in (change, *self._own.values()):
                task.cancel()

    async def round(self) -> None:
        """Probe ServerLive, and then everything else unless the whole server is silent.

        If too many probes hang for a round to end within its period, the round is
        ended there. Checks with the oldest result are probed first, so that the next
        round begins with those that this one did not reach.
        """
        ends = self._clock() + self.schedule.rounds.period
        if REASONS[await self._ask_live()].silences:
            return
        checks = self._store.health.checks
        left_out = {CANARY, REPOSITORY_INDEX.kind, *self.schedule.own}
        rest = (c for c in checks if c != SERVER_LIVE and c.kind not in left_out)
        queue = deque(sorted(rest, key=lambda check: _turn(check, checks[check].observed_at)))

        deadline = self.schedule.rounds.deadline

        async def work() -> None:
            while queue and self._clock() < ends:
                self._store.record(await self._ask(queue.popleft(), deadline))

        async with asyncio.TaskGroup() as workers:
            for _ in range(min(self.schedule.concurrency, len(queue))):
                workers.create_task(work())

    async def _idle(self, due: float, change: asyncio.Future[bool]) -> float:
        """Wait until a round is due or the connection changes; return when it is due.

        While all checks pass, ServerLive is probed meanwhile, so that a frozen server
        is detected before the next round, which then starts a recovery period later.
        """
        while not change.done():
            live = self._live_asked_at + self._spread(self.schedule.live_period)
            early = self.schedule.live_period and self._store.health.all_healthy
            if not early or max(live, self._clock()) >= due:
                await self._until(due, change)
                break
            await self._until(live, change)
            if not change.done():
                started = self._clock()
                await self._ask_live()
                if not self._store.health.all_healthy:
                    due = min(due, started + self._spread(self._period()))
        return due

    async def _ask_live(self) -> Reason:
        self._live_asked_at = self._clock()
        observation = await self._ask(SERVER_LIVE, self.schedule.rounds.deadline)
        self._store.record(observation)
        return observation.reason

    def _start_own(self) -> None:
        """Start a task for each check with its own schedule, unless it already runs."""
        for check, task in [*self._own.items()]:
            if task.done():
                task.result()
                del self._own[check]
        for check in self._store.health.checks:
            if check.kind in self.schedule.own and check not in self._own:
                self._own[check] = asyncio.create_task(self._ask_by_own_schedule(check))

    async def _ask_by_own_schedule(self, check: Check) -> None:
        """Probe a check while it exists and the server is not silent."""
        while (schedule := self._schedule_of(check)) is not None:
            started = self._clock()
            if not self._was_silent():
                self._store.record(await self._ask(check, schedule.deadline))
            state = self._store.health.checks.get(check)
            serving = state is not None and state.status is Status.SERVING
            period = schedule.period if serving else schedule.recovery_period
            await self._until(started + self._spread(period))

    def _schedule_of(self, check: Check) -> CheckSchedule | None:
        return self.schedule.own.get(check.kind) if check in self._store.health.checks else None

    def _was_silent(self) -> bool:
        answer = self._store.health.live.last_reason
        return answer is not None and REASONS[answer].silences

    def _period(self) -> float:
        rounds, all_healthy = self.schedule.rounds, self._store.health.all_healthy
        return rounds.period if all_healthy else rounds.recovery_period

    def _spread(self, period: float) -> float:
        jitter = self.schedule.jitter / 2
        return period * self._uniform(1 - jitter, 1 + jitter)

    async def _until(self, due: float, event: asyncio.Future[bool] | None = None) -> None:
        """Wait for a time, or for an event that comes first."""
        delay = due - self._clock()
        if delay <= 0:
            return
        if event is None:
            await self._sleep(delay)
            return
        sleeping = asyncio.ensure_future(self._sleep(delay))
        either: set[asyncio.Future[Any]] = {sleeping, event}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()


def _turn(check: Check, observed_at: float | None) -> tuple[bool, float]:
    """Return the position in a round: ServerReady, then by the age of the last result."""
    return check != SERVER_READY, -math.inf if observed_at is None else observed_at
