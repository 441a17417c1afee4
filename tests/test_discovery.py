"""When the repository is looked into: no real time passes."""

import asyncio
import heapq
from collections.abc import Callable, Mapping
from itertools import count

import pytest

from sidecar.core.checks import REPOSITORY_INDEX, SERVER_LIVE, SERVER_READY, model_ready
from sidecar.core.reasons import Reason, Thresholds
from sidecar.core.repository import Discovered, DiscoveryRules, Repository, Row, State
from sidecar.core.state import Health
from sidecar.discovery import Discovery
from sidecar.probes.repository import Index
from sidecar.store import HealthStore
from tests.core.folding import saw


def ready(*names: str) -> Index:
    return Index(Reason.OK, rows=tuple(Row(name, "1", State.READY) for name in names))


class World:
    """A clock that moves to the next who wakes, and a repository."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rules: DiscoveryRules | None = DiscoveryRules(period=30)
        self.index = ready("a")
        self.takes = 0.0
        self.looked: list[float] = []
        self.found: list[tuple[str, ...]] = []
        self._sleeping: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = count()
        checks, thresholds = (SERVER_LIVE, SERVER_READY, REPOSITORY_INDEX), Thresholds(1)
        self.discovery = Discovery(
            lambda: self.rules,
            index=self.ask,
            store=lambda: self.store,
            changed=self.note,
            clock=lambda: self.now,
            sleep=self.sleep,
        )
        health = Health.initial(checks, 0, thresholds, thresholds)
        self.store = HealthStore(health, [self.discovery])

    @property
    def reason(self) -> Reason | None:
        return self.store.health.checks[REPOSITORY_INDEX].last_reason

    def note(self, repository: Repository) -> None:
        self.found.append(repository.models)

    async def ask(self) -> Index:
        self.looked.append(self.now)
        if self.takes:
            await self.sleep(self.takes)
        return self.index

    async def sleep(self, seconds: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleeping, (self.now + seconds, next(self._number), turn))
        await turn

    async def until(self, end: float, events: Mapping[int, Callable[[], None]] | None = None):
        """Runs until a moment; at some moments something happens."""
        running = asyncio.create_task(self.discovery.run())
        for at, event in sorted((events or {}).items()):
            await self._pass_until(at)
            event()
        await self._pass_until(end)
        running.cancel()
        await asyncio.wait({running})

    async def _pass_until(self, end: float) -> None:
        while True:
            for _ in range(8):
                await asyncio.sleep(0)
            if not self._sleeping or self._sleeping[0][0] > end:
                break
            self.now, _, turn = heapq.heappop(self._sleeping)
            if not turn.done():
                turn.set_result(None)
        self.now = end

    def see(self, word: str) -> None:
        self.store.record(saw(SERVER_LIVE, word, self.now))


async def test_it_looks_at_once_and_then_each_period():
    world = World()
    await world.until(70)
    assert (world.looked, world.found, world.reason) == ([0, 30, 60], [("a",)], Reason.OK)


async def test_an_index_that_takes_long_is_asked_for_less_often():
    world = World()
    world.takes = 1
    await world.until(110)
    assert world.looked == [0, 51, 102]


async def test_a_server_that_comes_back_is_looked_at_at_once():
    world = World()
    events = {5: lambda: world.see("unreachable"), 12: lambda: world.see("ok")}
    await world.until(20, events)
    assert world.looked == [0, 12]


@pytest.mark.parametrize("reason", [Reason.TIMEOUT, Reason.ERROR, Reason.UNIMPLEMENTED])
async def test_an_index_that_fails_keeps_the_models_and_counts_as_its_reason(reason):
    world = World()
    await world.until(40, {20: lambda: setattr(world, "index", Index(reason, "why"))})
    assert (world.discovery.repository.models, world.reason) == (("a",), reason)


@pytest.mark.parametrize("reason", [Reason.UNIMPLEMENTED, Reason.DENIED])
async def test_that_there_is_no_index_is_logged_once(reason, caplog):
    world = World()
    world.index = Index(reason)
    await world.until(100)
    (record,) = caplog.records
    assert f"RepositoryIndex is {reason} by the server: list them in `models`" in record.message


async def test_why_a_load_has_failed_is_logged_once_for_each_reason(caplog):
    world = World()

    def fail(reason: str) -> None:
        row = Row("a", "1", State.UNAVAILABLE, reason)
        world.index = Index(Reason.OK, rows=(row,))

    fail("no memory")
    await world.until(130, {100: lambda: fail("x" * 10_000)})
    messages = [record.message for record in caplog.records]
    assert messages == [
        "model a:1 is unavailable: no memory",
        f"model a:1 is unavailable: {'x' * 500}",
    ]


async def test_other_models_are_told_and_the_same_ones_are_not():
    world = World()
    await world.until(100, {40: lambda: setattr(world, "index", ready("a", "b"))})
    assert world.found == [("a",), ("a", "b")]


async def test_while_it_is_off_nothing_is_asked_and_a_reload_switches_it():
    world = World()
    world.rules = None
    events = {
        50: lambda: setattr(world, "rules", DiscoveryRules(period=30)),
        60: lambda: world.store.reload(world.store.health, other_server=False),
        70: lambda: setattr(world, "rules", None),
        80: lambda: world.store.reload(world.store.health, other_server=False),
    }
    await world.until(200, events)
    assert (world.looked, world.discovery.repository) == ([60], Repository())


async def test_another_server_has_another_repository():
    world = World()

    def reload() -> None:
        world.discovery.forget()
        world.store.reload(world.store.health, other_server=True)

    await world.until(15, {10: reload})
    assert (world.looked, world.found) == ([0, 10], [("a",), ("a",)])


async def test_what_is_discovered_is_asked_beside_what_is_configured():
    world = World()
    world.rules = DiscoveryRules(period=30, configured=frozenset({"mine"}))
    world.index = ready("a", "mine")
    await world.until(1)
    assert world.discovery.discovered.checks == (REPOSITORY_INDEX, model_ready("a"))
    world.rules = None
    assert world.discovery.discovered == Discovered()


async def test_how_many_are_left_out_is_logged_when_it_changes(caplog):
    world = World()
    world.rules = DiscoveryRules(period=30, maximum=1)
    world.index = ready("a", "b", "c")
    await world.until(100, {50: lambda: setattr(world, "index", ready("a", "b"))})
    assert [record.args for record in caplog.records] == [(2,), (1,)]
