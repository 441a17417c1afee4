"""The board keeps the current health and tells every listener."""

from sidecar.board import Board
from sidecar.health.checks import SERVER_LIVE
from tests.health.folding import initial, saw


def test_listeners_hear_every_observation_and_what_it_moved():
    heard = []
    board = Board(initial(), [lambda *call: heard.append(call)])
    first, second = saw(SERVER_LIVE, "ok", at=1), saw(SERVER_LIVE, "ok", at=2)
    before = board.health
    board.record(first)
    board.record(second)
    after, moved = before.observe(first)
    assert heard == [(first, moved), (second, ())]
    assert board.health == after.observe(second)[0]


def test_a_drain_is_noted():
    board = Board(initial())
    board.drain()
    assert board.health.draining
