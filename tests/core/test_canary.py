"""The rules of canaries; each test names the rule of the contract's section 7 that it holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.canary import Canary, CanaryRules, Counters
from sidecar.core.checks import SERVER_LIVE, SERVER_READY, Observation, Payload, canary
from sidecar.core.reasons import Reason, Thresholds
from sidecar.core.restarts import review
from sidecar.core.rules import liveness, readiness, startup
from sidecar.core.snapshot import Policy, Quorum, Snapshot
from sidecar.core.state import Health
from sidecar.core.status import Canaries, Status, step_canary
from tests.core.folding import A, B, fold, saw

CA, CB = canary("a"), canary("b", "3")
CHECKS = (SERVER_LIVE, SERVER_READY, A, B, CA, CB)
RULES = CanaryRules()
POLICY = Policy(max_age=1_000_000)


def health(*, given=(CA, CB), rules=RULES, checks=CHECKS) -> Health:
    """A health in which everything but the canaries is ready."""
    thresholds = Thresholds()
    canaries = Canaries(rules, frozenset(given))
    first = Health.initial(checks, 0, thresholds, thresholds, canaries)
    return fold(first, *(saw(check, "ok") for check in checks if check not in (CA, CB)))


def result(check, reason, at=0.0, payload=Payload.GIVEN, **more) -> Observation:
    return Observation(check, Reason(reason), at, 0.01, f"why {reason}", payload, **more)


def proven(at=0.0, **others) -> Health:
    """The same, and both canaries pass."""
    return fold(health(**others), result(CA, "ok", at), result(CB, "ok", at))


def passes(one: Health, now=0.0, policy=POLICY, exclude=()) -> bool:
    return readiness(Snapshot(one, now, policy), exclude).passing


def known(one: Health, check=CA) -> Canary:
    found = one.checks[check].canary
    assert found is not None
    return found


def status(one: Health, check=CA) -> str:
    return str(one.checks[check].status)


def findings(one: Health, now=0.0, rule=readiness, exclude=()) -> dict[str, str]:
    return {f.name: f.line for f in rule(Snapshot(one, now, POLICY), exclude).findings}


# Rule 1


def test_1_another_request_keeps_the_status_and_empties_the_window():
    before = fold(proven(), result(CA, "error"))
    after = before.with_other_payloads([CA])
    found = known(after)
    assert (status(after), found.window, found.has_succeeded) == ("SERVING", (), False)
    assert after.checks[CB] == before.checks[CB]


def test_1_a_request_that_is_given_takes_the_place_of_one_that_was_built():
    before = health(given=())
    after = before._replace(canaries=Canaries(RULES, frozenset({CA}))).with_other_payloads([CA])
    assert known(before, CA).payload is Payload.BUILT
    assert known(after, CA).payload is Payload.GIVEN


# Rule 2


@pytest.mark.parametrize("reason", ["invalid_request", "unimplemented"])
def test_2_a_built_request_that_is_refused_gates_nothing(reason):
    one = fold(health(given=()), *(result(c, reason, 1, Payload.BUILT) for c in (CA, CB)))
    assert (passes(one, 1), status(one)) == (True, "UNKNOWN")
    assert findings(one, 1)["canary:a"] == "[+]canary:a ok: unconfigured"


def test_2_a_request_that_cannot_be_built_gates_nothing():
    one = fold(proven(given=(CB,)), result(CA, "invalid_request", 1, Payload.NONE))
    assert (passes(one, 1), known(one, CA).unconfigured) == (True, True)


def test_2_a_built_request_that_never_succeeded_gates_nothing_and_restarts_nothing():
    rules = RULES._replace(restart_after=60)
    one = proven(given=(CB,), rules=rules)._replace(checks=health(rules=rules).checks)
    one = health(given=(), rules=rules)
    for at in range(0, 600, 30):
        one = fold(one, *(result(c, "error", at, Payload.BUILT) for c in (CA, CB)))
    assert passes(one, 570)
    assert not review(Snapshot(one, 570, POLICY)).wanted


def test_2_that_it_has_succeeded_is_remembered_across_restarts_of_the_server():
    one = fold(health(given=()), *(result(c, "ok", 1, Payload.BUILT) for c in (CA, CB)))
    one = fold(one, saw(SERVER_LIVE, "unreachable", 2))
    assert known(one, CA).has_succeeded
    one = fold(one, *(saw(check, "ok", 3) for check in (SERVER_LIVE, SERVER_READY, A, B)))
    one = fold(one, *(result(CA, "error", at, Payload.BUILT) for at in (4, 5)))
    assert status(one) == "NOT_SERVING"


def test_2_it_is_remembered_for_the_inputs_that_the_metadata_declare():
    one = fold(health(given=(CB,)), result(CA, "ok", 1, Payload.BUILT, form="x FP32 [1]"))
    same = fold(one, *(result(CA, "error", at, Payload.BUILT, form="x FP32 [1]") for at in (2, 3)))
    assert status(same) == "NOT_SERVING"
    other = fold(one, *(result(CA, "error", at, Payload.BUILT, form="y FP32 [1]") for at in (2, 3)))
    assert (status(other), known(other).unconfigured) == ("UNKNOWN", True)


def test_2_another_target_forgets_it():
    assert not known(proven().forget(9), CA).has_succeeded


def test_2_a_success_configures_it_again():
    refused = fold(health(given=()), result(CA, "invalid_request", 1, Payload.BUILT))
    assert status(fold(refused, result(CA, "ok", 2, Payload.BUILT))) == "SERVING"


# Rule 3


def test_3_unknown_fails_readyz_for_a_given_request_until_its_first_success():
    one = health()
    assert not passes(one, 100_000)
    assert findings(one)["canary:a"] == "[-]canary:a failed: unknown"
    assert passes(fold(one, result(CA, "ok"), result(CB, "ok")))


def test_3_unknown_fails_readyz_for_a_built_request_for_one_time_out_at_most():
    one = health(given=())
    assert (passes(one, 30), passes(one, 30.1)) == (False, True)
    assert findings(one, 30.1)["canary:a"] == "[+]canary:a ok: unknown"


def test_3_that_time_out_begins_when_the_model_becomes_ready():
    one = fold(health(given=(CB,)), result(CB, "ok"), saw(A, "not_ready", 10))
    one = fold(one, saw(A, "ok", 80))
    assert (passes(one, 110), passes(one, 110.1)) == (False, True)


@pytest.mark.parametrize(
    "unproven",
    [
        lambda one: fold(one, saw(A, "not_ready", 1)),
        lambda one: fold(one, saw(SERVER_LIVE, "unreachable", 1)),
        lambda one: one.forget(1),
        lambda one: one.reset_canaries([CA], 1),
    ],
    ids=["the model is unready", "the server is gone", "another target", "counters began again"],
)
def test_3_what_makes_it_unknown_again_and_the_warm_up_applies(unproven):
    one = proven(rules=RULES._replace(warmup=2)).reset_canaries([], 0)
    one = fold(one, result(CA, "ok"), result(CB, "ok"))
    assert status(one) == "SERVING"
    one = unproven(one)
    assert status(one) == "UNKNOWN"
    one = fold(one, result(CA, "ok", 2))
    assert status(one) == "UNKNOWN"
    assert status(fold(one, result(CA, "ok", 3))) == "SERVING"


def test_3_a_model_that_turns_unready_resets_no_other_canary():
    one = fold(proven(), saw(A, "not_ready", 1))
    assert (status(one, CA), status(one, CB)) == ("UNKNOWN", "SERVING")
    again = fold(fold(one, result(CA, "ok", 2)), saw(A, "not_ready", 3))
    assert status(again, CA) == "SERVING"  # it was not serving already


def test_3_another_reason_of_a_model_that_is_unready_resets_nothing_more():
    one = fold(proven(), saw(A, "not_ready", 1), result(CA, "ok", 2), saw(A, "model_not_found", 3))
    assert status(one, CA) == "SERVING"


def test_3_a_model_without_a_canary_resets_nothing():
    one = fold(proven(checks=CHECKS[:-1], given=(CA,)), saw(B, "not_ready", 1))
    assert status(one, CA) == "SERVING"


def test_3_a_counted_failure_resets_nothing():
    one = fold(proven(), saw(A, "error", 1), saw(SERVER_LIVE, "timeout", 2))
    assert (status(one, CA), status(one, CB)) == ("SERVING", "SERVING")


# Rule 4


def test_4_of_two_workers_one_may_be_dead():
    one = proven()
    for at, reason in enumerate(("error", "ok", "error")):
        one = fold(one, result(CA, reason, at))
    assert (status(one), passes(one, 3)) == ("NOT_SERVING", False)
    assert findings(one, 3)["canary:a"] == "[-]canary:a failed: error"


def test_4_after_a_failure_it_takes_successes_in_a_row():
    one = fold(proven(), result(CA, "error", 1), result(CA, "error", 2))
    for reason, expected in (
        ("ok", "NOT_SERVING"),
        ("ok", "NOT_SERVING"),
        ("error", "NOT_SERVING"),
        ("ok", "NOT_SERVING"),
        ("ok", "NOT_SERVING"),
        ("ok", "SERVING"),
    ):
        one = fold(one, result(CA, reason, 3))
        assert status(one) == expected


@pytest.mark.parametrize("reason", ["denied", "unimplemented", "invalid_request"])
def test_4_a_refusal_of_a_given_request_fails_at_once(reason):
    assert status(fold(proven(), result(CA, reason, 1))) == "NOT_SERVING"


@pytest.mark.parametrize("reason", ["error", "timeout", "wrong_output", "rejected"])
def test_4_any_other_failure_is_counted(reason):
    one = fold(proven(), result(CA, reason, 1))
    assert status(one) == "SERVING"
    assert status(fold(one, result(CA, reason, 2))) == "NOT_SERVING"


def test_4_each_new_reason_while_it_fails_is_a_transition():
    one = fold(proven(), result(CA, "error", 1))
    one, first = one.observe(result(CA, "error", 2))
    one, same = one.observe(result(CA, "error", 3))
    one, other = one.observe(result(CA, "timeout", 4))
    assert [(t.reason, str(t.after)) for t in (*first, *same, *other)] == [
        ("error", "NOT_SERVING"),
        ("timeout", "NOT_SERVING"),
    ]


# Rule 6


def waiting(at: float) -> Observation:
    return result(CA, "busy", at, pending=True, progress=True)


def test_6_progress_excuses_three_time_outs_and_no_more():
    one = fold(proven(), *(waiting(at) for at in (30, 60, 90)))
    assert (status(one), known(one, CA).window) == ("SERVING", (False,))
    one = fold(one, waiting(120), waiting(150))
    assert status(one) == "NOT_SERVING"


def test_6_progress_blocks_a_restart_all_the_same():
    rules = RULES._replace(restart_after=10)
    one = fold(proven(rules=rules), *(waiting(at) for at in range(30, 600, 30)))
    assert status(one) == "NOT_SERVING"
    assert not review(Snapshot(one, 600, POLICY)).wanted


def test_6_busy_without_progress_keeps_the_status_until_it_is_stale():
    one = fold(proven(), result(CA, "busy", 100))
    assert (status(one), passes(one, 119)) == ("SERVING", True)
    assert not passes(one, 121)


def test_6_a_skip_renews_and_is_allowed_three_times_in_a_row():
    one = proven()
    for at in (30, 60, 90):
        assert known(one, CA).may_skip()
        one = one.skip_canary(CA, at)
    assert not known(one, CA).may_skip()
    assert not Snapshot(one, 200, POLICY).is_stale(one.checks[CA])
    assert known(fold(one, result(CA, "ok", 120)), CA).may_skip()


def test_6_it_is_not_skipped_in_the_warm_up_nor_after_a_failure():
    assert not known(health(), CA).may_skip()
    assert not known(fold(proven(), result(CA, "error", 1)), CA).may_skip()


@pytest.mark.parametrize(
    ("before", "after", "progressed", "proves", "again"),
    [
        (None, (5, 5, 0, 0), False, False, False),
        ((5, 5, 0, 0), (5, 5, 0, 0), False, False, False),
        ((5, 5, 0, 0), (6, 6, 0, 0), True, True, False),
        ((5, 5, 0, 0), (6, 5, 1, 0), False, False, False),
        ((5, 5, 0, 0), (6, 7, 0, 1), True, False, False),
        ((5, 5, 0, 0), (1, 1, 0, 0), False, False, True),
        ((5, 5, 0, 0), (5, 4, 1, 0), False, False, True),
    ],
)
def test_6_what_the_models_own_counters_say(before, after, progressed, proves, again):
    known = None if before is None else Counters(*before)
    now = Counters(*after)
    assert now.has_progressed(known) == progressed
    assert now.proves(known) == proves
    assert now.began_again(known) == again


# Rule 7


def test_7_a_result_is_stale_after_three_periods_and_the_time_out():
    one = proven()
    assert (passes(one, 120), passes(one, 120.1)) == (True, False)
    assert findings(one, 121)["canary:a"] == "[-]canary:a failed: stale"


# Rule 8


def test_8_the_quorum_counts_each_model_once():
    one = fold(proven(), result(CA, "error", 1), result(CA, "error", 2))
    any_model = Policy(max_age=1_000_000, quorum=Quorum(count=1, percent=0))
    assert (passes(one, 2), passes(one, 2, any_model)) == (False, True)
    assert Snapshot(one, 2, POLICY).models == (2, 2, 1)
    one = fold(one, saw(B, "not_ready", 3))
    assert not passes(one, 3, any_model)


def test_8_an_optional_models_canary_gates_nothing():
    optional = Policy(max_age=1_000_000, optional=frozenset({A}))
    one = fold(proven(), result(CA, "denied", 1))
    assert (passes(one, 1), passes(one, 1, optional)) == (False, True)
    assert Snapshot(one, 1, optional).models == (1, 1, 1)


def test_8_to_exclude_a_model_leaves_out_both_and_to_exclude_a_canary_leaves_out_one():
    one = fold(proven(), result(CA, "denied", 1))
    assert passes(one, 1, exclude=["canary:a"])
    assert passes(one, 1, exclude=["model:a"])
    assert findings(one, 1, exclude=["model:a"])["canary:a"] == "[+]canary:a excluded: ok"
    one = fold(one, saw(A, "not_ready", 2))
    assert not passes(one, 2, exclude=["canary:a"])
    assert passes(one, 2, exclude=["model:a"])


def test_8_startup_knows_no_canary():
    one = health()
    assert startup(Snapshot(one, 0, POLICY)).passing
    assert set(findings(one, rule=startup)) == {
        "server-live",
        "server-ready",
        "model:a",
        "model:b:3",
    }


# Rule 9

RESTART = RULES._replace(restart_after=120, max_restarts_per_hour=2)


def failing(one: Health, start: float, end: float, reason="timeout") -> Health:
    """The canary of `a` fails from one moment to another, each 30 s, and the restarts follow."""
    at = start
    while at <= end:
        one = fold(one, result(CA, reason, at), result(CB, "ok", at))
        one = one._replace(restarts=review(Snapshot(one, at, POLICY)))
        at += 30
    return one


def healthz(one: Health, now: float) -> bool:
    return liveness(Snapshot(one, now, POLICY)).passing


def test_9_healthz_fails_after_so_long_without_a_success():
    one = failing(proven(rules=RESTART), 30, 120)
    assert healthz(one, 120)
    one = failing(one, 150, 150)
    assert not healthz(one, 150)
    assert findings(one, 150, rule=liveness) == {
        "server-live": "[+]server-live ok",
        "canary:a": "[-]canary:a failed: timeout",
    }
    assert (one.restarts.requested_total, one.restarts.withheld_total) == (1, 0)


def test_9_asked_again_it_is_still_the_same_restart():
    one = failing(proven(rules=RESTART), 30, 900)
    assert (one.restarts.wanted, one.restarts.requested_total) == (True, 1)


def test_9_one_success_withdraws_it():
    one = failing(proven(rules=RESTART), 30, 300)
    one = fold(one, result(CA, "ok", 330))
    one = one._replace(restarts=review(Snapshot(one, 330, POLICY)))
    assert healthz(one, 330)


@pytest.mark.parametrize("reason", ["wrong_output", "denied", "rejected", "invalid_request"])
def test_9_no_other_reason_restarts(reason):
    assert healthz(failing(proven(rules=RESTART), 30, 900, reason), 900)


def test_9_a_payload_that_never_succeeded_restarts_nothing():
    one = fold(health(rules=RESTART), result(CB, "ok"))
    assert healthz(failing(one, 30, 900), 900)


def test_9_nothing_restarts_by_default():
    assert healthz(failing(proven(), 30, 9000), 9000)


def test_9_nothing_restarts_while_readyz_passes_or_fails_for_another_reason():
    one = failing(proven(rules=RESTART), 30, 120)
    one = fold(one, result(CA, "timeout", 150), result(CB, "ok", 150))
    any_model = Policy(max_age=1_000_000, quorum=Quorum(count=1, percent=0))
    assert not review(Snapshot(one, 150, any_model)).wanted
    other = fold(one, saw(B, "not_ready", 151))
    assert not review(Snapshot(other, 151, POLICY)).wanted
    assert review(Snapshot(one, 150, POLICY)).wanted


def test_9_more_than_the_budget_of_an_hour_is_withheld_and_counted_once():
    one, at = proven(rules=RESTART), 0
    for _ in range(3):
        one = failing(one, at + 30, at + 300)
        at += 330
        one = fold(one, *(result(CA, "ok", at) for _ in range(3)), result(CB, "ok", at))
        one = one._replace(restarts=review(Snapshot(one, at, POLICY)))
    assert (one.restarts.requested_total, one.restarts.withheld_total) == (2, 1)
    one = failing(one, at + 30, at + 600)
    assert healthz(one, at + 600)
    assert (one.restarts.withheld, one.restarts.withheld_total) == (True, 2)
    one = failing(one, at + 630, at + 3600)  # by then the first is more than an hour ago
    assert (one.restarts.wanted, one.restarts.withheld) == (True, False)


def test_9_an_excluded_canary_does_not_fail_healthz():
    one = failing(proven(rules=RESTART), 30, 300)
    assert liveness(Snapshot(one, 300, POLICY), ["canary:a"]).passing


# Rule 10


def test_10_time_outs_of_server_live_do_not_count_while_a_young_canary_is_open():
    one = proven().open_canary(CA, 100)
    for at in (110, 112, 114, 116):
        one = fold(one, saw(SERVER_LIVE, "timeout", at))
    assert healthz(one, 116)
    for at in (131, 133, 135):
        one = fold(one, saw(SERVER_LIVE, "timeout", at))
    assert not healthz(one, 135)


def test_10_they_count_once_it_is_closed_and_other_reasons_count_always():
    one = proven().open_canary(CA, 100).close_canary(CA)
    for at in (110, 112, 114):
        one = fold(one, saw(SERVER_LIVE, "timeout", at))
    assert not healthz(one, 114)
    one = proven().open_canary(CA, 100)
    for at in (110, 112, 114):
        one = fold(one, saw(SERVER_LIVE, "unreachable", at))
    assert not healthz(one, 114)


# Beside the rules


def test_a_canary_stays_open_at_a_time_out_and_is_closed_by_its_reply():
    one = fold(proven().open_canary(CA, 100), result(CA, "timeout", 130, pending=True))
    assert one.opened == {CA: 100}
    assert fold(one, result(CA, "ok", 140)).opened == {}


def test_the_pace_of_the_rounds_does_not_hang_on_canaries():
    assert health().all_healthy
    assert not fold(health(), saw(A, "error")).all_healthy


def test_a_silent_server_fails_its_models_and_leaves_their_canaries_alone():
    one = proven()
    for at in (1, 2, 3):
        one = fold(one, saw(SERVER_LIVE, "timeout", at))
    assert (status(one, A), status(one, CA)) == ("NOT_SERVING", "UNKNOWN")
    assert one.checks[CA].last_reason is None


def test_canaries_are_no_progress_of_the_rounds():
    one = fold(proven(), result(CA, "ok", 50))
    assert one.last_observation_at == 0


def test_a_state_without_a_canary_counts_like_a_fresh_one():
    bare = proven().checks[A]
    assert step_canary(bare, result(CA, "ok"), RULES).status is Status.SERVING


@given(
    st.lists(st.sampled_from(["ok", "error", "timeout"]), max_size=60),
    st.integers(1, 5),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_the_status_is_that_of_a_naive_model(reasons, threshold, more, success, warmup):
    rules = CanaryRules(
        failure_threshold=threshold,
        window=threshold + more,
        success_threshold=success,
        warmup=warmup,
    )
    one = health(rules=rules)
    expected, needed = "UNKNOWN", warmup
    for end in range(1, len(reasons) + 1):
        past = [reason == "ok" for reason in reasons[:end]]
        one = fold(one, result(CA, reasons[end - 1], end))
        if past[-1]:
            row = next((n for n, ok in enumerate(reversed(past)) if not ok), len(past))
            expected = "SERVING" if row >= needed else expected
        elif past[-rules.window :].count(False) >= threshold:
            expected, needed = "NOT_SERVING", success
        assert status(one) == expected


def test_what_is_known_at_first():
    assert Canary().payload is Payload.BUILT
