"""Writes changes to the API server as Events: few writes, in order, in the background."""

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
from sidecar.outputs.kubernetes.notes import MAX_NAME, Changes, PendingChanges, Pod, Subject, series
from sidecar.store import Change

logger = logging.getLogger(__name__)

MAX_WRITES = 6  # per Pace.window
MAX_SERIES = 100

READYZ, HEALTHZ = "/readyz", "/healthz"


class Pace(NamedTuple):
    """How fast changes are written. Durations are in seconds.

    settle:   from a change until it is written, so that simultaneous changes are one Event.
    soon:     from a change until the endpoints are evaluated.
    tick:     until they are evaluated without a change, because results become stale.
    window:   within which there are at most six writes.
    series:   within which the same change is counted up in the existing Event.
    too_old:  after which a change is dropped; Kubernetes keeps an Event for an hour.
    backoff, max_backoff:  the first pause after a failed write, and the longest.
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
    """The result of a write."""

    CREATED = auto()  # a new Event
    COUNTED = auto()  # counted up in an existing Event
    FAILED = auto()  # one failed attempt
    DROPPED = auto()  # a change that is never written


class _Written(NamedTuple):
    name: str
    times: int
    last: float


class KubernetesEvents:
    """Observes the store, and writes Events on this pod.

    snapshot:  returns the current snapshot.
    pod:       the pod that the Events are about.
    api:       creates and patches them.
    wall:      returns Unix time, which may jump.
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
        self._pending = PendingChanges()
        self._passing = {READYZ: False, HEALTHZ: True}  # the state before any result
        self._has_started = False
        self._changed, self._is_pending = asyncio.Event(), asyncio.Event()
        self._writes: deque[float] = deque(maxlen=MAX_WRITES)
        self._written: dict[object, _Written] = {}
        self._results: Counter[str] = Counter()
        self._is_failing = False

    def results(self) -> Mapping[str, int]:
        """Return how often each result has occurred since the start."""
        return self._results

    def __call__(self, change: Change) -> None:
        """Observe changes: add each gating check whose readiness has changed."""
        if not change.transitions and change.observation is not None:
            return
        self._changed.set()
        moved = [t for t in change.transitions if t.probe is Probe.READINESS]
        snapshot = self._snapshot() if moved else None
        for each in moved:
            if snapshot and snapshot.gates(each.check):
                passing = each.after is Status.SERVING
                reason = Reason.OK if passing else each.reason
                # Failures during startup are normal.
                warning = self._has_started and not passing
                self._add(Subject(each.check.name, passing, reason, warning))

    async def run(self) -> None:
        """Write Events until cancelled; no failure ends it."""
        await asyncio.gather(self._watch(), self._write())

    async def _watch(self) -> None:
        while True:
            self._evaluate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._pace.tick)
            self._changed.clear()
            await asyncio.sleep(self._pace.soon)

    def _evaluate(self) -> None:
        """Add each endpoint whose verdict has changed."""
        snapshot = self._snapshot()
        self._has_started = startup(snapshot).passing
        for name, rule in ((READYZ, readiness), (HEALTHZ, liveness)):
            verdict = rule(snapshot)
            if verdict.passing == self._passing[name]:
                continue
            self._passing[name] = verdict.passing
            if verdict.passing:
                self._add(Subject(name, True, Reason.OK, False))
                continue
            gating = {check.name for check in snapshot.health.checks if snapshot.gates(check)}
            failing = [f for f in verdict.findings if not f.passing and f.name in {*gating, DRAIN}]
            first = failing[0]
            subject = Subject(name, False, first.reason, first.name != DRAIN, first.name)
            self._add(subject, more=len(failing) - 1)

    def _add(self, subject: Subject, more: int = 0) -> None:
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
        """Wait until one more write is allowed."""
        if len(self._writes) == MAX_WRITES:
            await asyncio.sleep(self._writes[0] + self._pace.window - time.monotonic())

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Limit the rate of writes. A write counts from its end, so a delayed one does too."""
        await self._wait_for_turn()
        try:
            yield
        finally:
            self._writes.append(time.monotonic())

    async def _deliver(self, changes: Changes) -> None:
        """Write the changes; repeat it until it succeeds, is rejected or they are too old."""
        # The name stays the same, so that an attempt whose response was lost is not written twice.
        name = f"{self._pod.name[: MAX_NAME - 20].rstrip('.-')}.{time.time_ns():x}"
        delay = self._pace.backoff
        while self._wall() - changes.last < self._pace.too_old:
            try:
                result = await self._attempt(changes, name)
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
        self._results[Result.DROPPED] += changes.times

    async def _attempt(self, changes: Changes, name: str) -> Result:
        """Count the changes up in an existing Event, or create one. Failed if neither succeeds."""
        before = self._written.get(changes.key)
        if before and 0 <= changes.last - before.last <= self._pace.series:
            times = before.times + changes.times
            try:
                async with self._turn():
                    await self._api.patch(before.name, series(times, changes.last))
            except Failed as error:
                if not error.is_about_the_object:
                    raise
            else:
                self._written[changes.key] = _Written(before.name, times, changes.last)
                return Result.COUNTED
        async with self._turn():
            await self._api.create(lambda namespace: changes.as_event(name, namespace, self._pod))
        self._written.pop(changes.key, None)
        self._written[changes.key] = _Written(name, changes.times, changes.last)
        if len(self._written) > MAX_SERIES:
            del self._written[next(iter(self._written))]
        return Result.CREATED

    def _succeeded(self, result: Result) -> None:
        self._results[result] += 1
        if self._is_failing:
            self._is_failing = False
            logger.info("writing Kubernetes Events succeeds again")

    def _failed(self, error: Failed) -> None:
        self._results[Result.FAILED] += 1
        if not self._is_failing:
            self._is_failing = True
            logger.warning("writing Kubernetes Events failed, will be retried: %s", error)
