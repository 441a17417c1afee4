"""Thresholds and staleness, against a second and naive model of the same rules.

The model keeps every answer and works out the status anew from the whole
history; it shares nothing with the state machine but the contract's words.
"""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.checks import SERVER_LIVE, Observation
from sidecar.core.reasons import Reason, Thresholds
from sidecar.core.rules import ENDPOINTS, liveness, progress, readiness
from sidecar.core.snapshot import Policy, Snapshot
from sidecar.core.state import Health
from sidecar.core.status import CheckState
from tests.core.folding import CHECKS, A

IMMEDIATE = [
    "not_ready",
    "model_not_found",
    "unreachable",
    "shutting_down",
    "tls",
    "denied",
    "unimplemented",
    "invalid_request",
]
COUNTED_READINESS = ["timeout", "rejected", "error", "wrong_output"]
COUNTED_LIVENESS = ["not_ready", "unreachable", "timeout", "error"]
ALIVE = sorted(set(Reason) - set(COUNTED_LIVENESS))
SILENT = ["unreachable", "timeout", "tls"]

answers = st.sampled_from(list(Reason))
server_answers = st.sampled_from([a for a in Reason if a != "model_not_found"])
thresholds = st.builds(Thresholds, st.integers(1, 5), st.integers(1, 5))
gaps = st.floats(0.01, 20)
seen = st.tuples(st.sampled_from(CHECKS), answers, gaps).filter(
    lambda one: one[0].model or one[1] != "model_not_found"
)


def row(history: list[str], words: Sequence[str]) -> int:
    """How many of the latest answers are all among these words."""
    length = 0
    while length < len(history) and history[-1 - length] in words:
        length += 1
    return length


def naive(
    history: list[str],
    limits: Thresholds,
    immediate: list[str],
    counted: list[str],
    good: Sequence[str],
) -> str:
    """The status after a history: the latest moment at which a rule said something."""
    for end in range(len(history), 0, -1):
        past = history[:end]
        if past[-1] in immediate or row(past, immediate + counted) >= limits.failure:
            return "NOT_SERVING"
        if row(past, good) >= limits.success:
            return "SERVING"
    return "UNKNOWN"


@given(st.lists(seen, max_size=30), thresholds, thresholds)
def test_statuses_are_those_of_the_naive_model(polls, for_liveness, for_readiness):
    health = Health.initial(CHECKS, 0, for_liveness, for_readiness)
    histories: dict[object, list[str]] = {check: [] for check in CHECKS}
    now = 0.0
    for check, answer, gap in polls:
        now += gap
        health, _ = health.observe(Observation(check, answer, now, 0.001))
        inherited = check == SERVER_LIVE and answer in SILENT
        for one in CHECKS if inherited else [check]:
            histories[one] += [answer] if answer != "busy" else []
    assert {check: state.status for check, state in health.checks.items()} == {
        check: naive(history, for_readiness, IMMEDIATE, COUNTED_READINESS, ["ok"])
        for check, history in histories.items()
    }
    asked = [answer for check, answer, _ in polls if check == SERVER_LIVE]
    assert health.live.status == naive(asked, for_liveness, [], COUNTED_LIVENESS, ALIVE)


def differs(before: CheckState, after: CheckState, *, asked: bool) -> bool:
    """Whether this is worth telling."""
    down = after.status == "NOT_SERVING"
    return before.status != after.status or (asked and down and before.reasons != after.reasons)


@given(st.lists(seen, max_size=30), thresholds, thresholds)
def test_a_transition_is_reported_exactly_when_a_status_or_an_asked_checks_reason_differs(
    polls, for_liveness, for_readiness
):
    health = Health.initial(CHECKS, 0, for_liveness, for_readiness)
    now = 0.0
    for check, answer, gap in polls:
        now += gap
        after, transitions = health.observe(Observation(check, answer, now, 0.001))
        moved = {
            ("readiness", c, s.status, after.checks[c].status)
            for c, s in health.checks.items()
            if differs(s, after.checks[c], asked=c == check)
        }
        if differs(health.live, after.live, asked=True):
            moved.add(("liveness", SERVER_LIVE, health.live.status, after.live.status))
        assert {(t.probe, t.check, t.before, t.after) for t in transitions} == moved
        assert len(transitions) == len(moved)
        health = after


@given(
    st.lists(seen, max_size=30),
    st.floats(0, 60),
    st.booleans(),
    st.sets(st.sampled_from([check.name for check in CHECKS])),
)
def test_where_everything_is_required_an_endpoint_passes_when_all_its_findings_do(
    polls, now, draining, exclude
):
    health = Health.initial(CHECKS, 0, Thresholds(), Thresholds())
    for check, answer, gap in polls:
        health, _ = health.observe(Observation(check, answer, gap, 0.001))
    health = health.drain() if draining else health
    for rule in ENDPOINTS.values():
        verdict = rule(Snapshot(health, now, Policy(max_age=10)), exclude)
        assert verdict.passing == all(finding.passing for finding in verdict.findings)


@given(st.lists(seen, max_size=30), st.floats(0, 60), st.floats(0.1, 30))
def test_old_answers_never_pass_readiness_and_never_touch_liveness(polls, later, max_age):
    health = Health.initial(CHECKS, 0, Thresholds(), Thresholds())
    latest: dict[object, float] = {}
    now = 0.0
    for check, answer, gap in polls:
        now += gap
        health, _ = health.observe(Observation(check, answer, now, 0.001))
        inherited = check == SERVER_LIVE and answer in SILENT
        latest |= dict.fromkeys(CHECKS if inherited else [check], now)
    policy = Policy(max_age=max_age)
    old = [check for check in CHECKS if now + later - latest.get(check, 0) > max_age]
    if old:
        assert not readiness(Snapshot(health, now + later, policy)).passing
    then, before = (
        liveness(Snapshot(health, now + later, policy)),
        liveness(Snapshot(health, now, policy)),
    )
    assert (then.passing, then.findings) == (before.passing, before.findings)
    assert progress(Snapshot(health, now + later, policy)).passing == (
        now + later - max([0, *latest.values()]) <= max_age
    )


@given(st.lists(server_answers, max_size=20), st.integers(1, 5))
def test_liveness_never_fails_without_a_row_of_doubtful_answers_as_long_as_the_threshold(
    history, failure
):
    health = Health.initial(CHECKS, 0, Thresholds(failure), Thresholds())
    health, _ = health.observe(Observation(SERVER_LIVE, Reason.OK, 0, 0.001))
    longest = current = 0
    for at, answer in enumerate(history):
        current = current + 1 if answer in COUNTED_LIVENESS else 0
        longest = max(longest, current)
        health, _ = health.observe(Observation(SERVER_LIVE, answer, at, 0.001))
        if longest < failure:
            assert liveness(Snapshot(health, at, Policy(max_age=1))).passing


@given(st.lists(answers, max_size=20))
def test_readiness_never_passes_right_after_a_decisive_failure(history):
    health = Health.initial(CHECKS, 0, Thresholds(), Thresholds())
    for check in CHECKS:
        health, _ = health.observe(Observation(check, Reason.OK, 0, 0.001))
    for answer in history:
        health, _ = health.observe(Observation(A, answer, 0, 0.001))
        if answer in IMMEDIATE:
            assert not readiness(Snapshot(health, 0, Policy(max_age=1))).passing
