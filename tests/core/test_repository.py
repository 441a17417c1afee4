"""Which models of the repository are checked, and what is known of the others."""

import pytest

from sidecar.core.checks import REPOSITORY_INDEX, SERVER_LIVE, SERVER_READY, model_ready
from sidecar.core.reasons import Reason, Thresholds
from sidecar.core.repository import Discovered, DiscoveryRules, Repository, Row, State, row
from sidecar.core.rules import readiness, startup
from sidecar.core.snapshot import Policy, Snapshot
from sidecar.core.state import Health
from tests.core.folding import fold, saw

RULES = DiscoveryRules(configured=frozenset({"mine"}))
READY = State.READY


def rows(*names: str, state: State = READY) -> list[Row]:
    return [Row(name, "1", state) for name in names]


def after(*indexes: list[Row], rules: DiscoveryRules = RULES) -> Repository:
    """The repository after these indexes."""
    repository = Repository()
    for index in indexes:
        repository = repository.then(index, rules)
    return repository


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [
        ("READY", "", State.READY),
        ("LOADING", "", State.LOADING),
        ("UNKNOWN", "", State.LOADING),
        ("UNLOADING", "", State.UNLOADING),
        ("UNAVAILABLE", "Traceback ...", State.UNAVAILABLE),
        ("UNAVAILABLE", "", State.UNAVAILABLE),
        ("UNAVAILABLE", "unloaded", State.UNLOADED),
        ("", "", State.NOT_LOADED),
        ("SLEEPING", "", State.UNAVAILABLE),
    ],
)
def test_the_states_of_the_servers_are_known(state, reason, expected):
    assert row("a", "1", state, reason).state is expected


@pytest.mark.parametrize(
    ("state", "is_checked"),
    [
        (State.READY, True),
        (State.LOADING, True),
        (State.UNLOADING, True),
        (State.UNAVAILABLE, True),
        (State.UNLOADED, False),
        (State.NOT_LOADED, False),
    ],
)
def test_what_is_loaded_or_failed_is_checked_and_what_is_not_wanted_is_not(state, is_checked):
    found = after(rows("a", state=state))
    assert found.models == ("a",) * is_checked
    assert found.states[state] == 1


def test_a_model_of_several_versions_is_checked_once():
    assert after([Row("a", "1", READY), Row("a", "2", READY)]).models == ("a",)


def test_a_configured_model_is_no_discovery_and_one_that_is_not_there_is_missing():
    assert after(rows("mine", "a")).models == ("a",)
    found = after(rows("a"))
    assert found.rows[-1] == Row("mine", "", State.MISSING)
    assert found.states[State.MISSING] == 1


def test_what_is_excluded_is_not_checked():
    rules = RULES._replace(exclude=("test-*", "b"))
    assert after(rows("a", "b", "test-1", "c"), rules=rules).models == ("a", "c")


def test_more_than_the_maximum_are_left_out_and_those_that_are_checked_stay():
    rules = RULES._replace(maximum=2)
    first = after(rows("b", "c", "d"), rules=rules)
    assert (first.models, first.left_out) == (("b", "c"), 1)
    assert after(rows("b", "c"), rows("a", "b", "c"), rules=rules).models == ("b", "c")


def test_a_model_that_leaves_is_checked_until_it_was_missing_twice():
    assert after(rows("a", "b"), rows("b")).models == ("a", "b")
    assert after(rows("a", "b"), rows("b"), rows("b")).models == ("b",)
    assert after(rows("a"), rows(), rows("a"), rows()).models == ("a",)


def test_a_model_that_was_unloaded_on_purpose_is_checked_no_longer():
    assert after(rows("a"), rows("a", state=State.UNLOADED)).models == ()


@pytest.mark.parametrize(
    ("known", "minimum", "reason"),
    [(1, 1, "ok"), (0, 1, "not_ready"), (2, 3, "not_ready"), (3, 3, "ok")],
)
def test_fewer_models_than_the_minimum_are_not_ready(known, minimum, reason):
    rules = RULES._replace(minimum=minimum)
    found = after(rows("a", "b", "c")[:known], rules=rules)
    assert found.reason(rules)[0] == reason


def test_configured_models_count_towards_the_minimum():
    rules = RULES._replace(minimum=2)
    assert after(rows("mine", "a"), rules=rules).reason(rules) == (Reason.OK, "")


A = model_ready("a")
CHECKS = (SERVER_LIVE, SERVER_READY, REPOSITORY_INDEX, A)


def discovered(*words: str, now: float = 0) -> Snapshot:
    """A moment at which server, repository and the discovered model have these results."""
    thresholds = Thresholds(1)
    health = Health.initial(CHECKS, 0, thresholds, thresholds)
    health = health.discovering(Discovered((REPOSITORY_INDEX, A), max_age=100))
    pairs = zip(CHECKS, ("ok", *words), strict=True)
    return Snapshot(fold(health, *(saw(check, word) for check, word in pairs)), now, Policy(10))


@pytest.mark.parametrize(
    ("words", "ready", "started"),
    [
        (("ok", "ok", "ok"), True, True),
        (("ok", "ok", "not_ready"), False, True),
        (("ok", "not_ready", "ok"), False, True),
        (("not_ready", "ok", "ok"), False, False),
    ],
    ids=["all well", "a failed load", "too few models", "the server"],
)
def test_what_is_discovered_gates_readyz_and_never_startupz(words, ready, started):
    moment = discovered(*words)
    assert (readiness(moment).passing, startup(moment).passing) == (ready, started)
    assert {f.name for f in startup(moment).findings} == {"server-live", "server-ready"}


def test_an_index_has_an_age_of_its_own():
    moment = discovered("ok", "ok", "ok", now=11)
    stale = {f.name for f in readiness(moment).findings if f.reason == "stale"}
    assert stale == {"server-live", "server-ready", "model:a"}
    stale = {f.name for f in readiness(discovered("ok", "ok", "ok", now=101)).findings}
    assert "repository" in stale


def test_the_pace_of_the_rounds_does_not_hang_on_the_repository():
    assert discovered("ok", "not_ready", "ok").health.all_healthy
    assert not discovered("ok", "ok", "not_ready").health.all_healthy


def test_it_stays_discovered_when_another_server_is_asked_and_not_when_it_is_configured():
    health = discovered("ok", "ok", "ok").health.forget(5)
    assert not health.checks[A].gates_startup
    assert health.checks[REPOSITORY_INDEX].max_age == 100
    assert health.discovering(Discovered()).checks[A].gates_startup
