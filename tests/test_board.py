"""The board keeps the current health and tells every listener of each change."""

from sidecar.board import Board, Cause, Change
from sidecar.health.checks import SERVER_LIVE
from tests.health.folding import A, B, all_ok, initial, saw


def test_listeners_are_told_of_every_observation_and_what_it_moved():
    heard: list[Change] = []
    board = Board(initial(), [heard.append])
    first, second = saw(SERVER_LIVE, "ok", at=1), saw(SERVER_LIVE, "ok", at=2)
    before = board.health
    board.record(first)
    board.record(second)
    after, moved = before.observe(first)
    last, _ = after.observe(second)
    assert heard == [
        Change(Cause.RESULT, after, first, moved),
        Change(Cause.RESULT, last, second, ()),
    ]
    assert board.health == last


def test_listeners_are_told_of_reloads_and_of_the_drain():
    heard: list[Change] = []
    board = Board(initial(), [heard.append])
    board.reload(initial(SERVER_LIVE, A), other_server=False)
    board.reload(initial(SERVER_LIVE, B), other_server=True)
    board.drain()
    assert heard == [
        Change(Cause.RELOAD, initial(SERVER_LIVE, A)),
        Change(Cause.OTHER_SERVER, initial(SERVER_LIVE, B)),
        Change(Cause.DRAIN, initial(SERVER_LIVE, B).drain()),
    ]
    assert board.health.draining


def test_nobody_is_told_of_a_result_whose_check_was_removed_meanwhile():
    heard: list[Change] = []
    board = Board(all_ok(initial(SERVER_LIVE, A)), [heard.append])
    before = board.health
    board.record(saw(B, "unreachable"))
    assert (board.health, heard) == (before, [])
