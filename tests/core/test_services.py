"""What the names of grpc.health.v1 stand for."""

import pytest

from sidecar.core.checks import SERVER_LIVE, SERVER_READY, canary, model_ready
from sidecar.core.reasons import Thresholds
from sidecar.core.services import Services
from sidecar.core.snapshot import Policy, Snapshot
from sidecar.core.state import Health
from sidecar.core.status import Canaries
from tests.core.folding import A, B, fold, saw

OLD, NEW = model_ready("c", "1"), model_ready("c", "2")
CA = canary("a")
CHECKS = (SERVER_LIVE, SERVER_READY, A, B, OLD, NEW, CA)


def ready(*failing, now=0.0):
    """A moment at which all checks pass but these."""
    thresholds, canaries = Thresholds(1), Canaries(given=frozenset({CA}))
    one = Health.initial(CHECKS, 0, thresholds, thresholds, canaries)
    for check in CHECKS:
        word = "ok" if check not in failing else "error" if check == CA else "not_ready"
        one = fold(one, saw(check, word), saw(check, word))
    return Snapshot(one, now, Policy(max_age=100))


NAMES = ("", "readyz", "healthz", "startupz", "livez", *(check.name for check in CHECKS))
BARE = ("a", "b", "b:3", "c:1", "c:2")


def test_there_is_a_service_for_each_endpoint_check_and_model():
    assert sorted(Services(CHECKS).names) == sorted({*NAMES, *BARE})


@pytest.mark.parametrize("name", [*NAMES, *BARE])
def test_all_serve_while_everything_is_well(name):
    assert Services(CHECKS).is_serving(name, ready()) is True


@pytest.mark.parametrize("name", ["c", "nope", "model:nope", "a:3", "READYZ", "model:"])
def test_a_name_that_stands_for_nothing_or_for_two_is_unknown(name):
    assert Services(CHECKS).is_serving(name, ready()) is None


@pytest.mark.parametrize(
    ("failing", "expected"),
    [
        (A, {"", "readyz", "startupz", "model:a", "a"}),
        (B, {"", "readyz", "startupz", "model:b:3", "b", "b:3"}),
        (CA, {"", "readyz", "canary:a", "a"}),
        (SERVER_READY, {"", "readyz", "startupz", "server-ready"}),
    ],
    ids=["a model", "a version", "a canary", "the server"],
)
def test_what_fails_does_not_serve_and_nothing_else(failing, expected):
    services, moment = Services(CHECKS), ready(failing)
    assert {n for n in services.names if not services.is_serving(n, moment)} == expected


def test_what_is_stale_does_not_serve():
    services, moment = Services(CHECKS), ready(now=101)
    serving = {name for name in services.names if services.is_serving(name, moment)}
    assert serving == {"healthz", "startupz", "canary:a"}


def test_while_it_drains_only_what_restarts_a_container_serves():
    services, moment = Services(CHECKS), ready()
    moment = Snapshot(moment.health.drain(), 0, moment.policy)
    serving = {name for name in services.names if services.is_serving(name, moment)}
    assert serving == {"healthz", "startupz", "livez"}


def test_a_model_that_has_the_name_of_an_endpoint_is_known_by_its_full_name_alone():
    model = model_ready("readyz")
    services = Services([SERVER_LIVE, model])
    assert services.names.count("readyz") == 1
    assert "model:readyz" in services.names


def test_a_check_that_is_no_longer_there_is_unknown():
    moment = ready()
    checks = {check: state for check, state in moment.health.checks.items() if check != A}
    gone = Snapshot(moment.health._replace(checks=checks), 0, moment.policy)
    assert Services(CHECKS).is_serving("a", gone) is None
