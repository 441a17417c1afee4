"""The state machine: each row of the contract's table, thresholds, inheritance, transitions."""

import pytest

from sidecar.core.checks import SERVER_LIVE, SERVER_READY
from sidecar.core.reasons import (
    REASONS,
    Effect,
    Reason,
    Thresholds,
    evidence_of_life,
    for_each_reason,
)
from sidecar.core.state import Transition
from sidecar.core.status import CheckState, Probe, Status, step
from tests.core.folding import CHECKS, A, B, all_ok, fold, fold_all, initial, saw

UNKNOWN, SERVING, NOT_SERVING = Status.UNKNOWN, Status.SERVING, Status.NOT_SERVING

# Answer, for readiness, for liveness.
CONTRACT = [
    ("ok", "immediate", "immediate"),
    ("not_ready", "immediate", "counted"),
    ("model_not_found", "immediate", "immediate"),
    ("unreachable", "immediate", "counted"),
    ("shutting_down", "immediate", "immediate"),
    ("timeout", "counted", "counted"),
    ("busy", "none", "immediate"),
    ("rejected", "counted", "immediate"),
    ("tls", "immediate", "immediate"),
    ("denied", "immediate", "immediate"),
    ("unimplemented", "immediate", "immediate"),
    ("error", "counted", "counted"),
    ("invalid_request", "immediate", "immediate"),
    ("wrong_output", "counted", "immediate"),
]


def test_every_answer_has_its_row():
    assert [row[0] for row in CONTRACT] == list(Reason)
    assert list(REASONS) == list(Reason)


@pytest.mark.parametrize(("answer", "effect", "_"), CONTRACT)
@pytest.mark.parametrize("check", [A, B, SERVER_READY])
def test_readiness_moves_as_the_table_says(check, answer, effect, _):
    health = all_ok(initial())
    after = [health := fold(health, saw(check, answer)) for _ in range(3)]
    statuses = [one.checks[check].status for one in after]
    expected = {
        "ok": [SERVING] * 3,
        "immediate": [NOT_SERVING] * 3,
        "counted": [SERVING, SERVING, NOT_SERVING],
        "none": [SERVING] * 3,
    }
    assert statuses == expected["ok" if answer == "ok" else effect]


@pytest.mark.parametrize(("answer", "_", "effect"), CONTRACT)
def test_liveness_moves_as_the_table_says(answer, _, effect):
    health = all_ok(initial())
    after = [health := fold(health, saw(SERVER_LIVE, answer)) for _ in range(3)]
    statuses = [one.live.status for one in after]
    expected = {
        "immediate": [SERVING] * 3,
        "counted": [SERVING, SERVING, NOT_SERVING],
    }
    assert statuses == expected[effect]


@pytest.mark.parametrize("answer", ["shutting_down", "tls", "denied", "unimplemented", "rejected"])
@pytest.mark.parametrize("before", ["ok", "unreachable", None])
def test_who_refuses_lives_whatever_was_known_before(answer, before):
    health = initial(failure=1)
    if before:
        health = fold(health, saw(SERVER_LIVE, before))
    after = fold(health, saw(SERVER_LIVE, answer))
    assert (after.live.status, after.checks[SERVER_LIVE].status) == (SERVING, NOT_SERVING)


@pytest.mark.parametrize("probe", list(Probe))
def test_failures_too_soon_after_the_last_counted_one_do_not_count(probe):
    state = CheckState(since=0)
    thresholds = Thresholds(failure=3, min_failure_interval=0.5)
    counted = []
    for at in (0, 0.1, 0.3, 0.49, 0.5, 0.9, 1.0):
        state = step(state, saw(A, "timeout", at), probe, thresholds)
        counted.append((state.failures, state.status))
    assert counted == [
        (1, UNKNOWN),
        (1, UNKNOWN),
        (1, UNKNOWN),
        (1, UNKNOWN),
        (2, UNKNOWN),
        (2, UNKNOWN),
        (3, NOT_SERVING),
    ]


def moved_at(answer: str, *, first: float, gap: float, min_duration: float = 0) -> float:
    """When failures that begin after a success at 0 move the status."""
    limits = Thresholds(failure=3, min_duration=min_duration)
    state = step(CheckState(since=0), saw(A, "ok", 0), Probe.LIVENESS, limits)
    at = first
    while state.status is SERVING:
        state = step(state, saw(A, answer, at), Probe.LIVENESS, limits)
        at += gap
    return state.since


def test_failures_move_nothing_before_their_least_duration_since_the_last_success():
    assert moved_at("timeout", first=3, gap=2) == 7
    assert moved_at("timeout", first=3, gap=2, min_duration=11.25) == 13
    assert moved_at("error", first=1, gap=1, min_duration=11.25) == 12
    assert moved_at("unreachable", first=1, gap=1, min_duration=11.25) == 3


def test_refusals_soon_after_a_success_make_a_row_of_their_own():
    limits = Thresholds(failure=3, min_duration=100)
    state, counted = CheckState(since=0), []
    for at, answer in enumerate(
        ["ok", "timeout", "timeout", "unreachable", "error"] + ["unreachable"] * 3
    ):
        state = step(state, saw(A, answer, at), Probe.LIVENESS, limits)
        counted.append((state.failures, state.status))
    assert counted == [
        (0, SERVING),
        (1, SERVING),
        (2, SERVING),
        (1, SERVING),
        (2, SERVING),
        (1, SERVING),
        (2, SERVING),
        (3, NOT_SERVING),
    ]


def test_a_server_that_was_never_seen_live_is_not_spared_by_the_least_duration():
    state, limits = CheckState(since=0), Thresholds(failure=3, min_duration=100)
    for at in (2, 4, 6):
        state = step(state, saw(A, "timeout", at), Probe.LIVENESS, limits)
    assert (state.status, state.since) == (NOT_SERVING, 6)


@pytest.mark.parametrize("probe", list(Probe))
def test_failures_that_never_pause_are_counted_all_the_same(probe):
    state = CheckState(since=0)
    thresholds = Thresholds(failure=3, min_failure_interval=0.5)
    for number in range(200):
        state = step(state, saw(A, "timeout", number * 0.4), probe, thresholds)
    assert (state.failures, state.status) == (100, NOT_SERVING)


@pytest.mark.parametrize("before", [None, "ok", "not_ready"])
def test_a_busy_server_keeps_its_status_and_its_answer_is_fresh(before):
    health = initial()
    if before:
        health = fold(health, saw(A, before, at=1))
    after = fold(health, saw(A, "busy", at=9))
    was, state = health.checks[A], after.checks[A]
    assert (state.status, state.since, state.failures) == (was.status, was.since, was.failures)
    assert (state.last_reason, state.observed_at) == ("busy", 9)
    assert state.reason == (was.reason or "busy")


def test_a_busy_answer_ends_no_row_of_failures():
    health = all_ok(initial())
    health = fold(health, *(saw(A, a) for a in ("timeout", "busy", "timeout", "busy", "timeout")))
    assert health.checks[A].status == NOT_SERVING


def test_a_busy_server_is_asked_no_more_often():
    health = all_ok(initial())
    busy = fold(health, *(saw(check, "busy") for check in health.checks))
    assert (busy.all_healthy, fold(initial(), saw(A, "busy")).all_healthy) == (True, False)


def test_a_table_that_forgets_an_answer_fails_at_once():
    table = dict.fromkeys(set(Reason) - {Reason.BUSY}, 0)
    with pytest.raises(TypeError, match="the table has no row for busy"):
        for_each_reason(table)


def test_the_strongest_evidence_of_life_is_an_answer_then_a_refusal_then_silence():
    strength = ["unreachable", "timeout", "tls", "ok"]
    evidence = [evidence_of_life(Reason(answer)) for answer in strength]
    assert evidence == sorted(set(evidence))
    assert all(
        evidence_of_life(a) > evidence_of_life(Reason.UNREACHABLE)
        for a in Reason
        if a != "unreachable"
    )


def test_a_row_of_doubtful_answers_is_ended_by_an_answer_of_someone_alive():
    health = all_ok(initial())
    health = fold(
        health, *(saw(SERVER_LIVE, a) for a in ("timeout", "timeout", "denied", "timeout"))
    )
    assert health.live.status == SERVING


def test_different_doubtful_answers_make_one_row():
    health = all_ok(initial())
    health = fold(health, *(saw(SERVER_LIVE, a) for a in ("timeout", "unreachable", "error")))
    assert health.live.status == NOT_SERVING


def test_one_good_answer_ends_a_row_of_failures():
    health = all_ok(initial())
    health = fold(health, *(saw(A, a) for a in ("error", "error", "ok", "error", "error")))
    assert health.checks[A].status == SERVING


def test_success_threshold_counts_from_the_start_as_the_kubelet_counts():
    health = initial(success=2)
    once = fold(health, saw(A, "ok"))
    twice = fold(once, saw(A, "ok"))
    assert [once.checks[A].status, twice.checks[A].status] == [UNKNOWN, SERVING]


def test_a_doubtful_answer_before_any_other_leaves_the_status_unknown():
    health = fold(initial(), saw(A, "timeout"))
    assert health.checks[A].status == UNKNOWN


@pytest.mark.parametrize("answer", ["unreachable", "timeout", "tls"])
def test_models_inherit_the_answer_of_a_silent_server(answer):
    health = all_ok(initial())
    health = fold(health, saw(SERVER_LIVE, answer, at=7))
    assert [(s.last_reason, s.observed_at) for s in health.checks.values()] == [(answer, 7)] * 4


@pytest.mark.parametrize("answer", sorted(set(Reason) - {"unreachable", "timeout", "tls"}))
def test_models_inherit_nothing_from_a_server_that_speaks(answer):
    health = all_ok(initial())
    after = fold(health, saw(SERVER_LIVE, answer, at=7))
    assert {c: after.checks[c] for c in (SERVER_READY, A, B)} == {
        c: health.checks[c] for c in (SERVER_READY, A, B)
    }


@pytest.mark.parametrize("check", [SERVER_READY, A])
def test_only_the_answer_to_server_live_speaks_for_the_others(check):
    health = all_ok(initial())
    after = fold(health, saw(check, "unreachable", at=7))
    assert [c for c in CHECKS if after.checks[c].status is NOT_SERVING] == [check]


def test_a_refused_connection_turns_server_and_models_together():
    health, transitions = fold_all(all_ok(initial(), at=1), saw(SERVER_LIVE, "unreachable", at=4))
    assert [s.status for s in health.checks.values()] == [NOT_SERVING] * 4
    assert transitions == [
        Transition(
            check=check,
            probe=Probe.READINESS,
            before=SERVING,
            after=NOT_SERVING,
            reason=Reason.UNREACHABLE,
            detail="why unreachable",
            at=4,
            lasted=3,
        )
        for check in CHECKS
    ]


def test_liveness_is_a_status_of_its_own_with_a_transition_of_its_own():
    thrice = [saw(SERVER_LIVE, "unreachable", at=at) for at in (10, 11, 12)]
    _, transitions = fold_all(all_ok(initial(SERVER_LIVE)), *thrice)
    assert [(t.probe, t.at) for t in transitions] == [
        (Probe.READINESS, 10),
        (Probe.LIVENESS, 12),
    ]


def test_nothing_is_reported_when_nothing_moves():
    health = all_ok(initial())
    assert fold_all(health, *(saw(check, "ok", at=9) for check in CHECKS))[1] == []


def test_another_reason_for_not_serving_is_reported_once_with_the_servers_new_text():
    words = ("denied", "denied", "error", "denied", "error")
    seen = [saw(A, word, at) for at, word in enumerate(words, 1)]
    _, transitions = fold_all(all_ok(initial()), *seen)
    assert [(t.before, t.after, t.reason, t.detail, t.lasted) for t in transitions] == [
        (SERVING, NOT_SERVING, "denied", "why denied", 1),
        (NOT_SERVING, NOT_SERVING, "error", "why error", 2),
    ]


def test_the_reasons_are_forgotten_when_it_serves_again():
    _, transitions = fold_all(
        all_ok(initial()), *(saw(A, word) for word in ("denied", "tls", "ok", "denied", "tls"))
    )
    assert [t.reason for t in transitions] == ["denied", "tls", "ok", "denied", "tls"]


def test_an_inherited_reason_is_not_reported_again_for_every_model():
    health = fold(all_ok(initial()), saw(SERVER_LIVE, "unreachable"))
    _, transitions = fold_all(health, saw(SERVER_LIVE, "timeout"))
    assert [(t.check, t.probe) for t in transitions] == [(SERVER_LIVE, Probe.READINESS)]


def test_the_reason_is_ok_while_serving_and_the_latest_failure_while_not():
    health = initial(success=2)
    seen = ["ok", "ok", "timeout", "not_ready", "error", "ok", "ok"]
    reasons = []
    for answer in seen:
        health = fold(health, saw(A, answer))
        reasons.append(health.checks[A].reason)
    assert reasons == [None, "ok", "ok", "not_ready", "error", "error", "ok"]


def test_a_state_remembers_since_when_and_what_was_heard_last():
    health = initial(now=100)
    health = fold(
        health,
        saw(A, "ok", at=101, duration=0.5),
        saw(A, "ok", at=102, duration=0.25),
        saw(A, "not_ready", at=103),
        saw(A, "ok", at=104, duration=0.125),
    )
    assert health.checks[A] == CheckState(
        since=104,
        status=SERVING,
        reason=Reason.OK,
        last_reason=Reason.OK,
        observed_at=104,
        duration=0.125,
        first_serving_at=101,
        failures=0,
        succeeded_at=104,
        successes=1,
    )


def test_an_answer_to_a_check_that_is_no_longer_asked_is_dropped():
    health = initial(SERVER_LIVE, SERVER_READY)
    assert health.observe(saw(A, "ok")) == (health, ())


def test_a_health_is_a_value_and_never_changes():
    before = all_ok(initial())
    copy = before._replace(checks=dict(before.checks))
    before.observe(saw(SERVER_LIVE, "unreachable", at=5))
    assert before == copy


def test_health_is_settled_when_all_serve_and_said_so_last():
    health = initial()
    assert not health.all_healthy
    health = all_ok(health)
    assert health.all_healthy
    assert not fold(health, saw(A, "timeout")).all_healthy
    assert not fold(health, saw(SERVER_LIVE, "not_ready")).all_healthy


def test_any_answer_is_progress():
    health = fold(initial(now=5), saw(A, "error", at=8))
    assert health.last_observation_at == 8


def test_every_effect_is_used():
    assert {e for row in REASONS.values() for e in (row.readiness, row.liveness)} == set(Effect)
