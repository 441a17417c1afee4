"""What Kubernetes is told: policies, staleness, grace, drain, exclusion."""

from dataclasses import replace

import pytest

from sidecar.core.checks import SERVER_LIVE, SERVER_READY, model_ready
from sidecar.core.rules import Finding, liveness, progress, readiness, startup
from sidecar.core.snapshot import Policy, Quorum, Snapshot
from tests.core.folding import CHECKS, A, B, all_ok, fold, initial, saw

POLICY = Policy(max_age=10)


def words(verdict) -> dict[str, str]:
    return {finding.name: finding.reason for finding in verdict.findings}


def test_what_is_unknown_gets_no_traffic_and_is_not_restarted():
    health = initial()
    verdicts = [
        rule(Snapshot(health, 0, POLICY)) for rule in (liveness, readiness, startup, progress)
    ]
    assert [verdict.passing for verdict in verdicts] == [True, False, False, True]
    assert words(verdicts[1]) == dict.fromkeys(
        ("server-live", "server-ready", "model:a", "model:b:3"), "unknown"
    )


@pytest.mark.parametrize(
    ("answers", "line"),
    [
        ([], "[+]server-live ok: not proven dead (unknown)"),
        (["timeout"] * 2, "[+]server-live ok: not proven dead (timeout)"),
        (["timeout"] * 3, "[-]server-live failed: timeout"),
        (["timeout"] * 2 + ["busy"], "[+]server-live ok"),
    ],
)
def test_liveness_fails_only_once_the_threshold_is_reached(answers, line):
    health = fold(initial(), *(saw(SERVER_LIVE, answer) for answer in answers))
    (finding,) = liveness(Snapshot(health, 0, POLICY)).findings
    assert finding.line == line


def test_all_ok_passes_everywhere():
    health = all_ok(initial())
    assert all(
        rule(Snapshot(health, 0, POLICY)).passing
        for rule in (liveness, readiness, startup, progress)
    )


def test_findings_come_in_the_order_of_the_checks_and_tell_the_reason():
    health = fold(all_ok(initial()), saw(A, "model_not_found"))
    assert readiness(Snapshot(health, 0, POLICY)).findings == (
        Finding("server-live", True, "ok"),
        Finding("server-ready", True, "ok"),
        Finding("model:a", False, "model_not_found"),
        Finding("model:b:3", True, "ok"),
    )


def test_a_model_never_fails_liveness():
    health = fold(all_ok(initial()), saw(A, "error"), saw(B, "not_ready"))
    assert liveness(Snapshot(health, 0, POLICY)).passing


def test_old_answers_fail_readiness_and_progress_and_leave_liveness_as_it_was():
    health = all_ok(initial(), at=100)
    fresh, old = 110, 110.001
    assert [
        (rule(Snapshot(health, fresh, POLICY)).passing, rule(Snapshot(health, old, POLICY)).passing)
        for rule in (readiness, progress, liveness, startup)
    ] == [(True, False), (True, False), (True, True), (True, True)]
    assert set(words(readiness(Snapshot(health, old, POLICY))).values()) == {"stale"}


def test_an_old_answer_of_one_model_fails_readiness_even_when_others_are_fresh():
    health = all_ok(initial(), at=100)
    health = fold(health, *(saw(c, "ok", at=111) for c in CHECKS if c != A))
    assert words(readiness(Snapshot(health, 111, POLICY)))["model:a"] == "stale"


def test_a_dead_server_stays_dead_however_old_the_answers_are():
    health = fold(initial(failure=1), saw(SERVER_LIVE, "unreachable"))
    assert not liveness(Snapshot(health, 9999, POLICY)).passing


@pytest.mark.parametrize(("now", "passing"), [(59.9, True), (60, False)])
def test_a_server_never_yet_seen_live_is_spared_during_the_grace(now, passing):
    health = fold(initial(failure=1), saw(SERVER_LIVE, "unreachable", at=1))
    assert liveness(Snapshot(health, now, replace(POLICY, startup_grace=60))).passing is passing


def test_another_server_has_the_whole_grace_again():
    health = fold(all_ok(initial(failure=1)).forget(1000), saw(SERVER_LIVE, "unreachable", at=1001))
    grace = replace(POLICY, startup_grace=60)
    assert [liveness(Snapshot(health, now, grace)).passing for now in (1059, 1060)] == [True, False]


def test_a_server_once_seen_live_is_not_spared_during_the_grace():
    health = initial(failure=1)
    health = fold(health, saw(SERVER_LIVE, "ok", at=1), saw(SERVER_LIVE, "unreachable", at=2))
    assert not liveness(Snapshot(health, 3, replace(POLICY, startup_grace=60))).passing


@pytest.mark.parametrize(
    "seen",
    [
        saw(SERVER_LIVE, "timeout"),
        saw(SERVER_LIVE, "shutting_down"),
        saw(SERVER_READY, "not_ready"),
        saw(A, "unreachable"),
        saw(A, "model_not_found"),
    ],
)
def test_startup_stays_passed_while_somebody_is_there(seen):
    assert startup(Snapshot(fold(all_ok(initial(failure=1)), seen), 9999, POLICY)).passing


def test_a_server_that_comes_after_one_that_is_gone_starts_anew():
    # The kubelet asks the startupProbe again for each new container.
    gone = fold(all_ok(initial()), saw(SERVER_LIVE, "unreachable", at=50))
    loading = fold(gone, saw(SERVER_LIVE, "ok"), saw(SERVER_READY, "ok"), saw(A, "not_ready"))
    verdicts = [
        startup(Snapshot(health, 9999, POLICY)) for health in (gone, loading, all_ok(loading))
    ]
    assert [verdict.passing for verdict in verdicts] == [False, False, True]
    assert set(words(verdicts[0]).values()) == {"unreachable"}


def test_that_startup_was_passed_by_other_checks_is_no_help_for_the_next_server():
    health = all_ok(initial())._replace(has_started=True)
    assert not startup(Snapshot(fold(health, saw(SERVER_LIVE, "unreachable")), 0, POLICY)).passing


def test_the_grace_is_for_the_first_server_alone():
    health = fold(all_ok(initial(failure=1)), saw(SERVER_LIVE, "unreachable"))
    assert not liveness(Snapshot(health, 1, replace(POLICY, startup_grace=60))).passing


def test_startup_waits_for_what_readiness_needs():
    health = fold(initial(), saw(SERVER_LIVE, "ok"), saw(SERVER_READY, "ok"), saw(A, "ok"))
    assert words(startup(Snapshot(health, 0, POLICY))) == {
        "server-live": "ok",
        "server-ready": "ok",
        "model:a": "ok",
        "model:b:3": "unknown",
    }
    assert not startup(Snapshot(health, 0, POLICY)).passing
    assert startup(Snapshot(health, 0, replace(POLICY, quorum=Quorum(count=1, percent=0)))).passing


def test_a_drain_fails_readiness_and_nothing_else():
    health = all_ok(initial()).drain()
    assert readiness(Snapshot(health, 0, POLICY)).findings[0] == Finding(
        "drain", False, "shutting_down"
    )
    assert [
        rule(Snapshot(health, 0, POLICY)).passing
        for rule in (readiness, liveness, startup, progress)
    ] == [
        False,
        True,
        True,
        True,
    ]


def test_server_ready_counts_unless_the_policy_says_no():
    health = fold(all_ok(initial()), saw(SERVER_READY, "not_ready"))
    assert not readiness(Snapshot(health, 0, POLICY)).passing
    lenient = readiness(Snapshot(health, 0, replace(POLICY, require_server_ready=False)))
    assert lenient.passing
    assert words(lenient)["server-ready"] == "not_ready"


def test_a_model_that_is_optional_is_told_of_and_gates_nothing():
    health = fold(all_ok(initial()), saw(A, "error"), saw(A, "error"), saw(A, "error"))
    verdict = readiness(Snapshot(health, 0, replace(POLICY, optional=frozenset({A}))))
    assert verdict.passing
    assert words(verdict)["model:a"] == "error"


@pytest.mark.parametrize(
    ("quorum", "needed"),
    [
        (Quorum(), [0, 1, 2, 3, 10]),
        (Quorum(count=1, percent=0), [0, 1, 1, 1, 1]),
        (Quorum(count=2, percent=0), [0, 1, 2, 2, 2]),
        (Quorum(percent=50), [0, 1, 1, 2, 5]),
        (Quorum(percent=70), [0, 1, 2, 3, 7]),
        (Quorum(percent=1), [0, 1, 1, 1, 1]),
    ],
)
def test_a_quorum_needs_so_many_of_the_required_models(quorum, needed):
    assert [quorum.of(models) for models in (0, 1, 2, 3, 10)] == needed


@pytest.mark.parametrize(("ready", "passing"), [(1, False), (2, True), (3, True)])
def test_readiness_counts_the_models_that_are_ready(ready, passing):
    models = [model_ready(name) for name in "abc"]
    health = fold(
        initial(SERVER_LIVE, SERVER_READY, *models),
        *(saw(check, "ok") for check in (SERVER_LIVE, SERVER_READY, *models[:ready])),
    )
    policy = replace(POLICY, quorum=Quorum(count=2, percent=0))
    assert readiness(Snapshot(health, 0, policy)).passing is passing


def test_without_models_readiness_is_the_servers_own():
    health = all_ok(initial(SERVER_LIVE, SERVER_READY))
    assert readiness(Snapshot(health, 0, POLICY)).passing


def test_an_excluded_check_is_left_out():
    health = fold(all_ok(initial()), saw(A, "error"), saw(A, "error"), saw(A, "error"))
    verdict = readiness(Snapshot(health, 0, POLICY), exclude=["model:a", "nope"])
    assert verdict.passing
    assert verdict.findings[2] == Finding("model:a", True, "ok", excluded=True)


def test_an_excluded_model_does_not_make_up_a_quorum():
    health = fold(all_ok(initial()), saw(B, "not_ready"))
    policy = replace(POLICY, quorum=Quorum(count=1, percent=0))
    assert readiness(Snapshot(health, 0, policy)).passing
    assert not readiness(Snapshot(health, 0, policy), exclude=["model:a"]).passing


@pytest.mark.parametrize("rule", [liveness, progress])
def test_the_one_check_of_an_endpoint_can_be_excluded(rule):
    health = fold(initial(failure=1), saw(SERVER_LIVE, "unreachable"))
    names = [finding.name for finding in rule(Snapshot(health, 999, POLICY)).findings]
    assert not rule(Snapshot(health, 999, POLICY)).passing
    assert rule(Snapshot(health, 999, POLICY), exclude=names).passing


def test_a_report_has_a_line_for_each_finding_then_warnings_then_whether_it_passes():
    health = fold(initial(), saw(SERVER_LIVE, "ok"), saw(A, "timeout"))
    verdict = readiness(Snapshot(health, 0, POLICY), [B.name])
    assert verdict.report("readyz", "warn: odd") == (
        "[+]server-live ok\n"
        "[-]server-ready failed: unknown\n"
        "[-]model:a failed: timeout\n"
        "[+]model:b:3 excluded: ok\n"
        "warn: odd\n"
        "readyz check failed\n"
    )


@pytest.mark.parametrize("require_server_ready", [True, False])
def test_a_policy_says_which_checks_count(require_server_ready):
    policy = replace(POLICY, optional=frozenset({A}), require_server_ready=require_server_ready)
    snapshot = Snapshot(initial(), 0, policy)
    assert {check: snapshot.gates(check) for check in CHECKS} == {
        SERVER_LIVE: True,
        SERVER_READY: require_server_ready,
        A: False,
        B: True,
    }
