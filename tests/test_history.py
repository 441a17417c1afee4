"""What came before of each check: bounded, failures apart, nothing of checks that are gone."""

import sys
from array import array
from collections import Counter
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.checks import SERVER_LIVE, SERVER_READY, Observation, canary
from sidecar.core.reasons import Reason
from sidecar.history import FAILURES, LETTERS, NOTHING, STRIP, History, Past
from sidecar.store import Cause, Change
from tests.core.folding import CHECKS, A, B, change, initial, saw


def past_of(*words: str) -> Past:
    """The past of a check that was answered so, a second apart."""
    past = NOTHING
    for at, word in enumerate(words):
        past = past.then(Reason(word), at, 0.5)
    return past


def told(past: Past) -> list[tuple[str, int, float, float]]:
    return [(f.reason, f.times, f.first, f.last) for f in past.failures]


def test_every_answer_has_a_letter_of_its_own():
    assert list(LETTERS) == list(Reason)
    assert max(Counter(LETTERS.values()).values()) == 1


def test_the_strip_has_a_letter_an_answer_the_oldest_first():
    assert past_of("ok", "timeout", "error", "ok").results == ".te."


def test_the_same_failure_in_a_row_is_told_once():
    past = past_of("ok", "timeout", "timeout", "ok", "timeout", "error")
    assert told(past) == [("error", 1, 5, 5), ("timeout", 1, 4, 4), ("timeout", 2, 1, 2)]
    assert past.failures[0].duration == 0.5


def test_no_success_pushes_a_failure_out():
    past = past_of("timeout", *["ok"] * 1000)
    assert (past.results, told(past)) == ("." * STRIP, [("timeout", 1, 0, 0)])


@given(st.lists(st.sampled_from(list(Reason)), max_size=200))
def test_it_is_what_a_list_of_all_answers_comes_to(answers):
    past = past_of(*answers)
    runs = [(a, list(same)) for a, same in groupby(enumerate(answers), key=lambda one: one[1])]
    failures = [(a, len(same), same[0][0], same[-1][0]) for a, same in reversed(runs) if a != "ok"]
    assert past.results == "".join(LETTERS[a] for a in answers)[-STRIP:]
    assert told(past) == failures[:FAILURES]


def test_of_a_silent_server_every_check_inherits_the_answer():
    history = History(CHECKS)
    for seen in (saw(A, "ok"), saw(SERVER_LIVE, "timeout"), saw(SERVER_LIVE, "not_ready")):
        history(change(initial(), seen))
    assert {check: past.results for check, past in history.pasts().items()} == {
        SERVER_LIVE: "tn",
        SERVER_READY: "t",
        A: ".t",
        B: "t",
    }


def test_what_was_handed_out_stays_as_it_was():
    history = History([A])
    before = history.pasts()
    history(change(initial(), saw(A, "ok")))
    assert (before[A].results, history.pasts()[A].results) == ("", ".")


def test_nothing_is_kept_of_a_check_that_is_no_longer_asked():
    history = History([A, B])
    history(change(initial(), saw(A, "ok")))
    history(change(initial(), saw(B, "ok")))
    history(Change(Cause.RELOAD, initial(SERVER_READY, B)))
    assert {check: past.results for check, past in history.pasts().items()} == {
        SERVER_READY: "",
        B: ".",
    }


def test_nothing_is_kept_of_another_server():
    history = History([A])
    history(change(initial(), saw(A, "ok")))
    history(Change(Cause.DRAIN, initial(A)))
    before = history.pasts()[A].results
    history(Change(Cause.OTHER_SERVER, initial(A)))
    assert (before, history.pasts()[A].results) == (".", "")


def test_of_a_canary_the_durations_are_kept_too():
    history, ca = History([A, canary("a")]), canary("a")
    for at in range(100):
        for check in (A, ca):
            observation = Observation(check, Reason.OK, at, at / 8)
            history(Change(Cause.RESULT, initial(A, ca), observation))
    pasts = history.pasts()
    assert list(array("f", pasts[ca].durations)) == [at / 8 for at in range(100 - STRIP, 100)]
    assert pasts[A].durations == b""


def test_even_the_worst_past_is_small():
    past = past_of(*["timeout", "error"] * 50)
    assert sum(sys.getsizeof(part) for part in (past, *past)) < 500
