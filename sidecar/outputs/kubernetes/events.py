"""Tells the API server what changes: few writes, in order, and nothing waits for them."""

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping
from enum import StrEnum, auto
from typing import NamedTuple

from sidecar.core.reasons import Reason
from sidecar.core.rules import DRAIN, liveness, readiness, startup
from sidecar.core.snapshot import Snapshot
from sidecar.core.status import Probe, Status
from sidecar.outputs.kubernetes.api import ApiServer, Failed
from sidecar.outputs.kubernetes.notes import MAX_NAME, Pending, Pod, Subject, Told, series
from sidecar.store import Change

logger = logging.getLogger(__name__)

MAX_WRITES = 6  # in Pace.window
MAX_SERIES = 100


READYZ, HEALTHZ = "/readyz", "/healthz"


class Pace(NamedTuple):
    """How fast changes are told. Durations are seconds.

    settle:   after a change until it is told, so that what changes together is told together.
    soon:     after a change until the endpoints are looked at.
    tick:     without a change until they are looked at, for results grow stale.
    window:   in which there are at most six writes.
    series:   within which the same change is counted up in the Event that was written first.
    too_old:  after which a change is no longer told; Kubernetes keeps an Event for an hour.
    backoff, max_backoff:  after a failed write: the first one, and at most.
    """

    settle: float = 1
    soon: float = 0.5
    tick: float = 1
    window: float = 60
    series: float = 600
    too_old: float = 3600
    backoff: float = 2
    max_backoff: float = 300


PACE = Pace()


class Result(StrEnum):
    """What came of a write."""

    CREATED = auto()  # a new Event
    COUNTED = auto()  # counted up in one that was there
    FAILED = auto()  # one attempt
    DROPPED = auto()  # a change that is never told


class _Written(NamedTuple):
    name: str
    times: int
    last: float


class KubernetesEvents:
    """Observes the store, and writes Events on this pod.

    snapshot:  of this moment.
    pod:       the Events are about it.
    api:       where they are written.
    wall:      the clock for people; it may jump.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        pod: Pod,
        api: ApiServer,
        *,
        pace: Pace = PACE,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._snapshot = snapshot
        self._pod = pod
        self._api = api
        self._pace = pace
        self._wall = wall
        self._pending = Pending()
        self._passing = {READYZ: False, HEALTHZ: True}  # as before the first result
        self._has_started = False
        self._moved, self._is_pending = asyncio.Event(), asyncio.Event()
        self._writes: deque[float] = deque(maxlen=MAX_WRITES)
        self._written: dict[object, _Written] = {}
        self._results: Counter[str] = Counter()
        self._is_failing = False

    def results(self) -> Mapping[str, int]:
        """How often each result has come since the start."""
        return self._results

    def __call__(self, change: Change) -> None:
        """The observer: notes each check that moved, if readiness rests on it."""
        if not change.transitions and change.observation is not None:
            return
        self._moved.set()
        moved = [t for t in change.transitions if t.probe is Probe.READINESS]
        snapshot = self._snapshot() if moved else None
        for each in moved:
            if snapshot and snapshot.gates(each.check):
                passing = each.after is Status.SERVING
                reason = Reason.OK if passing else each.reason
                # A server that loads its models is no cause for a warning.
                warning = self._has_started and not passing
                self._note(Subject(each.check.name, passing, reason, warning))

    async def run(self) -> None:
        """Writes until cancelled; no failure ends it."""
        await asyncio.gather(self._watch(), self._write())

    async def _watch(self) -> None:
        while True:
            self._look()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), self._pace.tick)
            self._moved.clear()
            await asyncio.sleep(self._pace.soon)

    def _look(self) -> None:
        """Notes each endpoint that passes no longer, or again."""
        snapshot = self._snapshot()
        self._has_started = startup(snapshot).passing
        for name, rule in ((READYZ, readiness), (HEALTHZ, liveness)):
            verdict = rule(snapshot)
            if verdict.passing == self._passing[name]:
                continue
            self._passing[name] = verdict.passing
            if verdict.passing:
                self._note(Subject(name, True, Reason.OK, False))
                continue
            gating = {check.name for check in snapshot.health.checks if snapshot.gates(check)}
            failing = [f for f in verdict.findings if not f.passing and f.name in {*gating, DRAIN}]
            first = failing[0]
            subject = Subject(name, False, first.reason, first.name != DRAIN, first.name)
            self._note(subject, more=len(failing) - 1)

    def _note(self, subject: Subject, more: int = 0) -> None:
        if self._pending.add(subject, self._wall(), more):
            self._is_pending.set()
        else:
            self._results[Result.DROPPED] += 1

    async def _write(self) -> None:
        while True:
            await self._is_pending.wait()
            await asyncio.sleep(self._pace.settle)
            while self._pending:
                await self._wait_for_turn()
                await self._deliver(self._pending.take())
            self._is_pending.clear()

    async def _wait_for_turn(self) -> None:
        """Waits until one more write is allowed."""
        if len(self._writes) == MAX_WRITES:
            await asyncio.sleep(self._writes[0] + self._pace.window - time.monotonic())

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """For one write. It counts from its end: whatever delays it, no more arrive in a window."""
        await self._wait_for_turn()
        try:
            yield
        finally:
            self._writes.append(time.monotonic())

    async def _deliver(self, told: Told) -> None:
        """Tells it, again and again until it is told, refused or too old."""
        # Its name stays, so that an attempt whose answer was lost is not told twice.
        name = f"{self._pod.name[: MAX_NAME - 20].rstrip('.-')}.{time.time_ns():x}"
        delay = self._pace.backoff
        while self._wall() - told.last < self._pace.too_old:
            try:
                result = await self._attempt(told, name)
            except Failed as error:
                self._failed(error)
                if error.is_final:
                    break
                wait = max(delay * random.uniform(0.5, 1), error.retry_after)  # noqa: S311
                await asyncio.sleep(min(wait, self._pace.max_backoff))
                delay = min(delay * 2, self._pace.max_backoff)
            else:
                self._succeeded(result)
                return
        self._results[Result.DROPPED] += told.times

    async def _attempt(self, told: Told, name: str) -> Result:
        """Counts it up in the Event that says the same, or creates one; Failed when neither."""
        before = self._written.get(told.key)
        if before and 0 <= told.last - before.last <= self._pace.series:
            times = before.times + told.times
            try:
                async with self._turn():
                    await self._api.patch(before.name, series(times, told.last))
            except Failed as error:
                if not error.is_about_the_object:
                    raise
            else:
                self._written[told.key] = _Written(before.name, times, told.last)
                return Result.COUNTED
        async with self._turn():
            await self._api.create(lambda namespace: told.as_event(name, namespace, self._pod))
        self._written.pop(told.key, None)
        self._written[told.key] = _Written(name, told.times, told.last)
        if len(self._written) > MAX_SERIES:
            del self._written[next(iter(self._written))]
        return Result.CREATED

    def _succeeded(self, result: Result) -> None:
        self._results[result] += 1
        if self._is_failing:
            self._is_failing = False
            logger.info("Kubernetes Events are written again")

    def _failed(self, error: Failed) -> None:
        self._results[Result.FAILED] += 1
        if not self._is_failing:
            self._is_failing = True
            logger.warning("Kubernetes Events cannot be written, and are tried again: %s", error)
