"""The store keeps the current health and tells every observer of each change."""

from sidecar.core.checks import SERVER_LIVE
from sidecar.store import Cause, Change, HealthStore
from tests.core.folding import A, B, all_ok, initial, saw


def test_listeners_are_told_of_every_observation_and_what_it_moved():
    heard: list[Change] = []
    store = HealthStore(initial(), [heard.append])
    first, second = saw(SERVER_LIVE, "ok", at=1), saw(SERVER_LIVE, "ok", at=2)
    before = store.health
    store.record(first)
    store.record(second)
    after, moved = before.observe(first)
    last, _ = after.observe(second)
    assert heard == [
        Change(Cause.RESULT, after, first, moved),
        Change(Cause.RESULT, last, second, ()),
    ]
    assert store.health == last


def test_listeners_are_told_of_reloads_and_of_the_drain():
    heard: list[Change] = []
    store = HealthStore(initial(), [heard.append])
    store.reload(initial(SERVER_LIVE, A), other_server=False)
    store.reload(initial(SERVER_LIVE, B), other_server=True)
    store.drain()
    assert heard == [
        Change(Cause.RELOAD, initial(SERVER_LIVE, A)),
        Change(Cause.OTHER_SERVER, initial(SERVER_LIVE, B)),
        Change(Cause.DRAIN, initial(SERVER_LIVE, B).drain()),
    ]
    assert store.health.draining


def test_nobody_is_told_of_a_result_whose_check_was_removed_meanwhile():
    heard: list[Change] = []
    store = HealthStore(all_ok(initial(SERVER_LIVE, A)), [heard.append])
    before = store.health
    store.record(saw(B, "unreachable"))
    assert (store.health, heard) == (before, [])
