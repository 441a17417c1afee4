"""When canaries are sent, and to whom: no real time passes."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import count, pairwise

import pytest

from sidecar.canaries import CanaryRunner
from sidecar.core.canary import CanaryRules, Counters
from sidecar.core.checks import (
    SERVER_LIVE,
    SERVER_READY,
    Check,
    Observation,
    Payload,
    canary,
    model_ready,
)
from sidecar.core.reasons import Reason, Thresholds
from sidecar.core.snapshot import Policy, Snapshot
from sidecar.core.state import Health
from sidecar.core.status import Canaries, Status
from sidecar.store import Change, HealthStore
from tests.core.folding import CHECKS, A, B, saw

CA, CB = canary("a"), canary("b", "3")
RULES = CanaryRules(period=30, timeout=10)


class World:
    """A clock that moves to the next who wakes, and a server whose replies are chosen.

    replies:   what each canary ends in; a number is that of time-outs without a reply.
    counters:  of every model.
    """

    def __init__(
        self,
        *,
        concurrency: int = 8,
        rules: CanaryRules = RULES,
        models: Sequence[Check] = (A, B),
    ) -> None:
        self.now = 0.0
        self.replies: dict[Check, list[str | int]] = {}
        self.sent: list[tuple[float, Check]] = []
        self.counters: Callable[[], Counters | None] = lambda: None
        self.in_flight = self.most_in_flight = 0
        self.payload = Payload.GIVEN
        self._sleeping: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = count()
        thresholds = Thresholds()
        canaries = [canary(model.model, model.version) for model in models]
        judged = Canaries(rules, frozenset(canaries))
        checks = (SERVER_LIVE, SERVER_READY, *models, *canaries)
        health = Health.initial(checks, 0, thresholds, thresholds, judged)
        self.runner: CanaryRunner | None = None
        self.store = HealthStore(health, [self._notify])
        self.runner = CanaryRunner(
            self.store,
            lambda: Snapshot(self.store.health, self.now, Policy(max_age=10**6)),
            ask=self.ask,
            statistics=self.statistics,
            concurrency=concurrency,
            recovery=1,
            clock=lambda: self.now,
            sleep=self.sleep,
            uniform=lambda _, high: high,
        )

    def _notify(self, change: Change) -> None:
        if self.runner is not None:
            self.runner(change)

    async def ask(
        self, check: Check, deadline: float, sent: Callable[[], None]
    ) -> AsyncIterator[Observation]:
        replies = self.replies.get(check, [])
        reply = replies.pop(0) if replies else "ok"
        if reply == "not ready":
            self.sent.append((self.now, check))
            return
        sent()
        self.sent.append((self.now, check))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            times = reply if isinstance(reply, int) else 0
            for _ in range(times):
                await self.sleep(deadline)
                yield self.seen(check, "timeout", pending=True)
            if times < 10:
                await self.sleep(1)
                yield self.seen(check, "ok" if isinstance(reply, int) else reply)
        finally:
            self.in_flight -= 1

    def seen(self, check: Check, reason: str, *, pending: bool = False) -> Observation:
        return Observation(
            check, Reason(reason), self.now, 1, payload=self.payload, pending=pending
        )

    async def statistics(self, _: Check) -> Counters | None:
        return self.counters()

    async def sleep(self, seconds: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleeping, (self.now + seconds, next(self._number), turn))
        await turn

    def see(self, check: Check, reason: str = "ok") -> None:
        self.store.record(saw(check, reason, self.now))

    def see_all(self, *checks: Check) -> None:
        for check in checks:
            self.see(check)

    async def until(self, end: float, events: Mapping[int, Callable[[], None]] | None = None):
        """Runs until a moment; at some moments something happens."""
        assert self.runner is not None
        running = asyncio.create_task(self.runner.run())
        for at, event in sorted((events or {}).items()):
            await self._pass_until(at)
            event()
        await self._pass_until(end)
        running.cancel()
        await asyncio.wait({running})
        if not running.cancelled():
            running.result()
        return self

    async def _pass_until(self, end: float) -> None:
        while True:
            for _ in range(12):  # so that each task gets to its next sleep
                await asyncio.sleep(0)
            if not self._sleeping or self._sleeping[0][0] > end:
                break
            self.now, _, turn = heapq.heappop(self._sleeping)
            if not turn.done():
                turn.set_result(None)
        self.now = end

    def times(self, check: Check = CA) -> list[float]:
        return [at for at, sent in self.sent if sent == check]


async def test_the_first_is_sent_at_once_when_the_model_becomes_ready_and_then_each_period():
    world = World()
    await world.until(100, {7: lambda: world.see(A)})
    assert world.times(CA) == [7, 38, 69, 100]
    assert world.times(CB) == []
    assert world.store.health.checks[CA].status is Status.SERVING


async def test_after_a_failure_they_come_sooner_and_then_ever_later():
    world = World()
    world.replies[CA] = ["error"] * 7
    await world.until(120, {0: lambda: world.see(A)})
    pauses = [after - before - 1 for before, after in pairwise(world.times())]
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


async def test_in_the_warm_up_they_follow_each_other():
    world = World(rules=RULES._replace(warmup=3))
    await world.until(10, {0: lambda: world.see(A)})
    assert world.times() == [0, 2, 4]
    assert world.store.health.checks[CA].status is Status.SERVING


async def test_a_model_that_becomes_ready_again_is_proven_at_once():
    world = World()
    events = {
        0: lambda: world.see(A),
        5: lambda: world.see(A, "not_ready"),
        9: lambda: world.see(A),
    }
    await world.until(20, events)
    assert world.times() == [0, 9]


async def test_none_is_sent_while_the_model_is_not_ready():
    world = World()
    await world.until(200, {0: lambda: world.see(A), 5: lambda: world.see(A, "denied")})
    assert world.times() == [0]


async def test_none_is_sent_while_this_sidecar_drains():
    world = World()
    await world.until(200, {0: lambda: world.see(A), 5: world.store.drain})
    assert world.times() == [0]


async def test_a_model_that_is_not_ready_when_it_is_asked_again_is_tried_a_second_later():
    world = World()
    world.replies[CA] = ["not ready", "not ready"]
    await world.until(10, {0: lambda: world.see(A)})
    assert world.times() == [0, 1, 2]


async def test_one_without_a_reply_is_left_pending_and_counts():
    world = World()
    world.replies[CA] = [3]
    await world.until(25, {0: lambda: world.see(A)})
    assert (world.times(), world.most_in_flight) == ([0], 1)
    state = world.store.health.checks[CA]
    assert (state.status, state.reason) == (Status.NOT_SERVING, "timeout")
    assert CA not in world.store.health.opened  # it is older than its time-out


async def test_after_one_that_was_given_up_the_next_waits_ever_longer():
    world = World()
    world.replies[CA] = [10] * 7
    await world.until(20_000, {0: lambda: world.see(A)})
    pauses = [after - before - 100 for before, after in pairwise(world.times())]
    assert pauses[:6] == [300, 600, 1200, 2400, 3600, 3600]
    assert world.most_in_flight == 1


async def test_ten_thousand_time_outs_leave_one_pending_per_model():
    world = World()
    world.replies = {CA: [10] * 1000, CB: [10] * 1000}
    await world.until(1_845_000, {0: lambda: world.see_all(A, B)})
    assert 10 * min(len(world.times(CA)), len(world.times(CB))) >= 5000
    assert world.most_in_flight == 2


async def test_none_is_sent_while_the_server_shuts_down_and_again_when_it_does_not():
    world = World()
    events = {
        0: lambda: world.see(A),
        10: lambda: world.see(SERVER_LIVE, "shutting_down"),
        100: lambda: world.see(SERVER_LIVE),
    }
    await world.until(105, events)
    assert world.times() == [0, 101]


async def test_models_that_wait_for_their_canaries_have_no_tasks():
    many = [model_ready(f"model-{number}", "") for number in range(100)]
    world = World(models=many)
    before = len(asyncio.all_tasks())
    tasks: list[int] = []
    events = {0: lambda: world.see_all(*many), 200: lambda: tasks.append(len(asyncio.all_tasks()))}
    await world.until(200, events)
    assert len(world.sent) > len(many)
    assert tasks[0] - before <= 1 + 2 + 8  # the runner, what it waits for, and what is in flight


async def test_so_many_are_in_flight_at_once_and_one_that_times_out_frees_its_slot():
    world = World(concurrency=1)
    world.replies[CA] = [3]
    await world.until(30, {0: lambda: world.see_all(A, B)})
    assert (world.times(CA), world.times(CB)) == ([0], [10])


async def test_real_traffic_takes_the_place_of_three_canaries_in_a_row():
    world = World()
    world.counters = lambda: Counters(int(world.now), int(world.now), 0, 0)
    await world.until(250, {0: lambda: world.see(A)})
    assert world.times() == [0, 121, 242]
    assert not Snapshot(world.store.health, 250, Policy(max_age=10**6)).is_stale(
        world.store.health.checks[CA]
    )


@pytest.mark.parametrize(
    "counters",
    [
        lambda _: Counters(9, 9, 0, 0),
        lambda now: Counters(int(now), 0, int(now), 0),
        lambda now: Counters(int(now), int(now), 0, int(now)),
    ],
    ids=["no traffic", "it fails", "it comes from a cache"],
)
async def test_other_traffic_takes_the_place_of_none(counters):
    world = World()
    world.counters = lambda: counters(world.now)
    await world.until(70, {0: lambda: world.see(A)})
    assert world.times() == [0, 31, 62]


async def test_a_model_that_was_loaded_again_has_to_be_proven_again():
    world = World(rules=RULES._replace(warmup=2))
    world.counters = lambda: Counters(9, 9, 0, 0) if world.now < 20 else Counters(0, 0, 0, 0)
    await world.until(40, {0: lambda: world.see(A)})
    assert world.times() == [0, 2, 33, 35]


async def test_a_restart_is_asked_for_after_so_long():
    world = World(rules=RULES._replace(restart_after=80))
    world.replies[CA] = ["ok", *["error"] * 20]
    await world.until(200, {0: lambda: world.see_all(*CHECKS)})
    assert world.store.health.restarts.requested_total == 1


async def test_an_unconfigured_canary_is_logged_once(caplog):
    world = World()
    world.payload = Payload.BUILT
    world.replies[CA] = ["invalid_request"] * 5
    await world.until(200, {0: lambda: world.see(A)})
    assert len(world.times()) > 1
    (record,) = caplog.records
    assert "canary:a is unconfigured" in record.message


async def test_a_reply_from_a_cache_is_logged_once(caplog):
    world = World()
    world.counters = lambda: Counters(1, len(world.sent), 0, len(world.sent))
    await world.until(100, {0: lambda: world.see(A)})
    assert len(world.times()) > 2
    (record,) = caplog.records
    assert "canary:a was answered from the server's response cache" in record.message


async def test_a_bug_in_a_probe_ends_it():
    world = World()
    world.replies[CA] = ["no reason"]
    with pytest.raises(ExceptionGroup):
        await world.until(10, {0: lambda: world.see(A)})
