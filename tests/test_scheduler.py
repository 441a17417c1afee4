"""When rounds start, whom they ask, and how many questions are in flight: no real time passes."""

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from sidecar.core.checks import SERVER_LIVE, SERVER_READY, Check, Observation, model_ready
from sidecar.core.reasons import Reason, Thresholds
from sidecar.core.schedule import CheckSchedule, Schedule
from sidecar.core.state import Health
from sidecar.core.status import Status
from sidecar.scheduler import Scheduler
from sidecar.store import Change, HealthStore
from tests.core.folding import CHECKS, A, B

STEADY = Schedule(CheckSchedule(period=5, recovery_period=1), jitter=0, concurrency=8)


@dataclass
class World:
    """A clock that moves when something sleeps, a server whose answers are chosen, and a diary."""

    schedule: Schedule = STEADY
    checks: tuple[Check, ...] = CHECKS
    answers: dict[Check, str] = field(default_factory=dict)
    takes: Callable[[Check], float] = lambda _: 0
    rounds: int = 3
    chance: Callable[[float, float], float] = lambda low, high: (low + high) / 2
    liveness: Thresholds = field(default_factory=Thresholds)
    watch: Callable[[], Awaitable[bool]] | None = None
    changes: list[Change] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.now = 0.0
        self.asked: list[tuple[float, Check]] = []
        self.deadlines: set[tuple[Check, float]] = set()
        self.in_flight = self.most_in_flight = 0
        self.lost = asyncio.Event()
        self.established = asyncio.Event()
        self.finished = asyncio.Event()
        self.on_sleep: Callable[[float], Awaitable[None]] | None = None
        health = Health.initial(self.checks, 0, self.liveness, Thresholds())
        self.store = HealthStore(health, [self.changes.append])
        self.poller = Scheduler(
            self.store,
            self.schedule,
            ask=self.ask,
            wait_changed=self.watch or self.wait_changed,
            clock=lambda: self.now,
            sleep=self.sleep,
            uniform=self.chance,
        )

    async def ask(self, check: Check, deadline: float) -> Observation:
        if check == SERVER_LIVE and len(self.starts) == self.rounds:
            self.finished.set()
            await asyncio.Event().wait()
        self.asked.append((self.now, check))
        self.deadlines.add((check, deadline))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0)
        self.now += self.takes(check)
        self.in_flight -= 1
        answer = Reason(self.answers.get(check, "ok"))
        return Observation(check, answer, self.now, self.takes(check))

    async def sleep(self, seconds: float) -> None:
        if self.on_sleep:
            await self.on_sleep(seconds)
        self.now += seconds

    async def wait_changed(self) -> bool:
        both = [asyncio.create_task(event.wait()) for event in (self.lost, self.established)]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in both:
                one.cancel()
        established = not self.lost.is_set()
        (self.established if established else self.lost).clear()
        return established

    @property
    def starts(self) -> list[float]:
        """When each round started: ServerLive is its first question."""
        return [at for at, check in self.asked if check == SERVER_LIVE]

    def down_at(self, probe: str) -> float:
        """When ServerLive was first found not serving for this probe."""
        moved = (t for change in self.changes for t in change.transitions)
        return next(
            t.at
            for t in moved
            if (t.check, t.probe, t.after) == (SERVER_LIVE, probe, Status.NOT_SERVING)
        )

    async def run(self) -> "World":
        polling = asyncio.create_task(self.poller.run())
        finished = asyncio.create_task(self.finished.wait())
        await asyncio.wait({polling, finished}, return_when=asyncio.FIRST_COMPLETED)
        finished.cancel()
        if polling.done():
            polling.result()
        polling.cancel()
        await asyncio.wait({polling})
        return self


async def test_rounds_start_a_period_apart_while_all_is_well():
    assert (await World().run()).starts == [0, 5, 10]


@pytest.mark.parametrize("answer", ["not_ready", "timeout", "unreachable", "denied"])
async def test_rounds_start_a_recovery_period_apart_while_anything_is_not_well(answer):
    assert (await World(answers={A: answer}).run()).starts == [0, 1, 2]


async def test_between_two_rounds_server_live_alone_is_asked():
    world = await World(schedule=STEADY._replace(live_period=1), rounds=7).run()
    assert world.starts == [0, 1, 2, 3, 4, 5, 6]
    assert [at for at, check in world.asked if check == A] == [0, 5]


async def test_while_not_all_is_well_server_live_is_asked_by_rounds_alone():
    slow = STEADY._replace(rounds=CheckSchedule(5, 4), live_period=1)
    world = await World(schedule=slow, answers={A: "not_ready"}).run()
    assert world.starts == [0, 4, 8]


async def test_a_round_that_is_overdue_is_not_put_off_by_an_early_question():
    world = World(
        schedule=STEADY._replace(rounds=CheckSchedule(2, 1), live_period=1),
        takes=lambda check: 2.5 if check == A else 0,
    )
    assert (await world.run()).starts == [0, 2.5, 5]


@pytest.mark.parametrize("live_period", [0, 5, 60])
async def test_without_an_earlier_moment_server_live_is_asked_by_rounds_alone(live_period):
    world = await World(schedule=STEADY._replace(live_period=live_period)).run()
    assert world.starts == [0, 5, 10]


@pytest.mark.parametrize("frozen_at", [0.01, 0.5, 2.5, 4.99, 5.01])
async def test_a_frozen_server_gets_no_traffic_soon_and_is_restarted_no_sooner(frozen_at):
    by_rounds_alone = 5 + 2 * 2 + 2  # a period, then three time-outs
    world = World(
        schedule=STEADY._replace(live_period=1),
        rounds=20,
        liveness=Thresholds(min_duration=by_rounds_alone),
    )

    def takes(_: Check) -> float:
        frozen = world.now >= frozen_at
        world.answers = dict.fromkeys(CHECKS, "timeout" if frozen else "ok")
        return 2 if frozen else 0

    world.takes = takes
    await world.run()
    assert world.down_at("readiness") - frozen_at <= 1 + 2 + 2 + 2
    seen = [change.observation for change in world.changes if change.observation]
    last_success = max(one.at for one in seen if one.reason == "ok")
    assert by_rounds_alone <= world.down_at("liveness") - last_success <= by_rounds_alone + 2


async def test_the_period_runs_from_start_to_start():
    world = World(takes=lambda check: 2 if check == SERVER_LIVE else 0)
    assert (await world.run()).starts == [0, 5, 10]


async def test_a_late_round_is_skipped_and_never_queued():
    world = World(takes=lambda check: 12 if check == SERVER_LIVE else 0)
    assert (await world.run()).starts == [0, 12, 24]


async def test_jitter_spreads_the_first_round_and_the_later_ones():
    drawn = []

    def chance(low, high):
        drawn.append((low, high))
        return high

    world = World(schedule=Schedule(CheckSchedule(10, 2), jitter=0.2), chance=chance)
    assert (await world.run()).starts == pytest.approx([0.4, 11.4, 22.4])
    assert drawn[:2] == [(0, 0.4), (0.9, 1.1)]


async def test_a_round_asks_the_server_first_and_then_everything_else():
    world = await World(rounds=1).run()
    assert [check for _, check in world.asked] == list(CHECKS)


@pytest.mark.parametrize("answer", ["unreachable", "timeout", "tls"])
async def test_a_silent_server_is_not_asked_about_its_models(answer):
    world = await World(rounds=1, answers={SERVER_LIVE: answer}).run()
    assert [check for _, check in world.asked] == [SERVER_LIVE]
    assert world.store.health.checks[A].last_reason == answer


@pytest.mark.parametrize(
    "answer", ["not_ready", "denied", "unimplemented", "shutting_down", "error"]
)
async def test_a_server_that_speaks_is_asked_about_its_models_whatever_it_says(answer):
    world = await World(rounds=1, answers={SERVER_LIVE: answer}).run()
    assert [check for _, check in world.asked] == list(CHECKS)


@pytest.mark.parametrize("concurrency", [1, 3, 8])
async def test_no_more_questions_are_in_flight_than_allowed(concurrency):
    models = [model_ready(f"m{i}") for i in range(20)]
    world = World(
        rounds=1,
        checks=(*CHECKS, *models),
        schedule=Schedule(jitter=0, concurrency=concurrency),
    )
    await world.run()
    assert world.most_in_flight == concurrency
    assert len(world.asked) == len(world.checks)


async def test_a_round_that_hangs_is_cut_at_its_period_and_goes_on_where_it_was_cut():
    models = [model_ready(f"m{i}") for i in range(5)]
    world = World(
        checks=(SERVER_LIVE, SERVER_READY, *models),
        schedule=Schedule(CheckSchedule(5, 1), jitter=0, concurrency=1),
        takes=lambda check: 2 if check.model else 0,
    )
    await world.run()
    assert [(at, check.name) for at, check in world.asked if check != SERVER_LIVE] == [
        (0, "server-ready"),
        (0, "model:m0"),
        (2, "model:m1"),
        (4, "model:m2"),
        (6, "server-ready"),
        (6, "model:m3"),
        (8, "model:m4"),
        (10, "model:m0"),
        (12, "server-ready"),
        (12, "model:m1"),
        (14, "model:m2"),
        (16, "model:m3"),
    ]


async def test_a_lost_connection_starts_a_round_at_once():
    world = World(rounds=2)

    async def lose(_):
        world.now += 2
        world.lost.set()
        await asyncio.Event().wait()

    world.on_sleep = lose
    assert (await world.run()).starts == [0, 2]


async def test_a_connection_that_is_established_starts_a_round_at_once_when_the_server_was_silent():
    world = World(answers={SERVER_LIVE: "unreachable"}, rounds=2)

    async def establish(_):
        if world.now == 0:
            world.now += 0.3
            world.established.set()
            await asyncio.Event().wait()

    world.on_sleep = establish
    assert (await world.run()).starts == [0, 0.3]


async def test_the_loss_of_a_connection_that_was_just_established_starts_a_round_at_once():
    world = World(answers={SERVER_LIVE: "unreachable"}, rounds=3)

    async def establish_and_lose(_):
        event = {0: world.established, 0.3: world.lost}.get(world.now)
        if event is not None:
            world.now += 0.3
            event.set()
            await asyncio.Event().wait()

    world.on_sleep = establish_and_lose
    assert (await world.run()).starts == [0, 0.3, 0.6]


@pytest.mark.parametrize(("answer", "starts"), [("ok", [0, 5]), ("not_ready", [0, 1])])
async def test_a_connection_over_which_the_last_round_was_answered_starts_none(answer, starts):
    world = World(answers={A: answer}, rounds=2)

    async def establish(_):
        if not world.established.is_set() and world.now == 0:
            world.now += 0.3
            world.established.set()
            await asyncio.Event().wait()

    world.on_sleep = establish
    assert (await world.run()).starts == starts


async def test_a_connection_lost_again_and_again_makes_ten_rounds_and_then_one_a_recovery_period():
    world = World(rounds=16, schedule=STEADY._replace(rounds=CheckSchedule(60, 1)))

    async def lose(seconds):
        if seconds > 30:
            world.now += 0.25
            world.lost.set()
            await asyncio.Event().wait()

    world.on_sleep = lose
    at_once = [0.25 * number for number in range(14)]
    assert (await world.run()).starts == [*at_once, 4.25, 5.25]


async def test_it_ends_at_the_end_of_the_round_after_which_it_is_done():
    world = World()
    ends = iter([False, True])
    await world.poller.run(lambda: next(ends))
    assert world.starts == [0, 5]
    assert len(world.asked) == 2 * len(CHECKS)


async def test_an_exception_while_asking_ends_the_poller():
    world = World(takes=lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await world.run()


async def test_an_exception_while_asking_about_a_model_ends_the_poller():
    world = World(takes=lambda check: 1 / 0 if check == B else 0)
    with pytest.raises(ExceptionGroup):
        await world.run()


async def test_a_watcher_that_fails_ends_the_poller():
    async def fail() -> bool:
        raise RuntimeError("the watcher has a bug")

    with pytest.raises(RuntimeError, match="the watcher has a bug"):
        await World(watch=fail).run()


APART = Check("apart", "Apart", "a")
OWN = {APART.kind: CheckSchedule(period=3, recovery_period=1, deadline=20)}


class ParallelWorld(World):
    """A world in which several tasks may sleep at once: the clock moves to the next to wake."""

    def __init__(self, **options: Any) -> None:
        schedule = STEADY._replace(own=OWN)
        super().__init__(schedule=schedule, checks=(*CHECKS, APART), **options)
        self.sleeping: list[tuple[float, int, asyncio.Future[None]]] = []
        self.number = count()
        self.on_ask: Callable[[Check], Awaitable[None]] | None = None

    async def ask(self, check: Check, deadline: float) -> Observation:
        if self.on_ask:
            await self.on_ask(check)
        return await super().ask(check, deadline)

    async def sleep(self, seconds: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self.sleeping, (self.now + seconds, next(self.number), turn))
        await turn

    async def pass_time(self) -> None:
        while True:
            for _ in range(20):  # so that each task gets to its next sleep
                await asyncio.sleep(0)
            self.now, _, turn = heapq.heappop(self.sleeping)
            if not turn.cancelled():
                turn.set_result(None)

    async def run(self) -> "ParallelWorld":
        passing = asyncio.create_task(self.pass_time())
        await super().run()
        passing.cancel()
        return self

    def asked_apart(self) -> list[float]:
        return [at for at, check in self.asked if check == APART]


async def test_each_question_is_given_the_deadline_of_its_schedule():
    world = await ParallelWorld().run()
    assert world.deadlines == {*((check, 2) for check in CHECKS), (APART, 20)}


async def test_a_check_with_a_schedule_of_its_own_is_asked_beside_the_rounds():
    world = await ParallelWorld().run()
    assert world.starts == [0, 1, 6]  # after the first its result is not there yet
    assert world.asked_apart() == [0, 3, 6, 9]


async def test_it_is_asked_each_recovery_period_while_it_is_not_serving():
    world = await ParallelWorld(answers={APART: "denied"}).run()
    assert world.asked_apart() == [0, 1, 2]


async def test_it_is_never_asked_twice_at_once_however_long_it_takes():
    world = ParallelWorld(rounds=12)
    began = []

    async def slow(check: Check) -> None:
        if check == APART:
            began.append(world.now)
            assert len(began) == len(world.asked_apart()) + 1
            await world.sleep(7)

    world.on_ask = slow
    await world.run()
    assert began == [0, 7, 14, 21, 28]


async def test_it_is_not_asked_while_the_server_is_silent():
    world = await ParallelWorld(answers={SERVER_LIVE: "unreachable"}).run()
    assert world.asked_apart() == []
    assert world.store.health.checks[APART].reason == "unreachable"


async def test_it_is_asked_no_more_once_its_check_was_removed():
    world = ParallelWorld(rounds=5)

    async def remove(_: Check) -> None:
        health = world.store.health
        if len(world.asked_apart()) == 2 and APART in health.checks:
            left = health.asking(CHECKS, world.now, health.liveness, health.readiness)
            world.store.reload(left, other_server=False)

    world.on_ask = remove
    await world.run()
    assert world.asked_apart() == [0, 3]
