"""The bounds of the end-to-end suite are computed from the pod and the settings."""

import pytest
import yaml

from sidecar.config import Settings
from tests.deploy.manifests import pod_of
from tests.e2e import objects
from tests.e2e.bounds import REPLACE, SLACK, Bounds, Probe
from tests.e2e.scenario import effective

POD = {
    "terminationGracePeriodSeconds": 40,
    "initContainers": [
        {
            "name": "health",
            "readinessProbe": {"periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 1},
            "livenessProbe": {
                "periodSeconds": 4,
                "timeoutSeconds": 2,
                "failureThreshold": 3,
                "terminationGracePeriodSeconds": 1,
            },
        }
    ],
    "containers": [
        {
            "name": "server",
            "startupProbe": {"periodSeconds": 10, "failureThreshold": 180},
            "livenessProbe": {
                "periodSeconds": 10,
                "timeoutSeconds": 2,
                "failureThreshold": 6,
                "terminationGracePeriodSeconds": 15,
            },
            "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        }
    ],
}
SETTINGS = {
    "period_seconds": 5,
    "recovery_period_seconds": 1,
    "live_period_seconds": 1,
    "timeout_seconds": 2,
    "jitter": 0.1,
    "liveness_failure_threshold": 3,
    "readiness_failure_threshold": 3,
    "readiness_success_threshold": 1,
}
EXPECTED = {
    "pre_stop": 5,
    "unready_out": 5.5 + 2 + SLACK,
    "ready_back": 1.1 + 2 + SLACK,
    "first_in": 10 + 1.1 + 2 + SLACK,
    "crashed_out": 2 + SLACK,
    "hung_out": 1.1 + 3 * 2 + 2 + SLACK,
    # Not before rounds alone would have proven it, and then at the next failure.
    "not_dead_before": 6 * 1.05 + 2 + 2 * 2,
    "dead": 12.3 + 1 + 2 + SLACK,
    "hung_restarted": 15.3 + 60 + 15 + REPLACE + SLACK,
    "frozen_out": 2 + 2 + SLACK,
    "frozen_restarted": 4 * 3 + 2 + 1 + REPLACE + SLACK,
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_bound_is_the_sum_of_what_has_to_pass(name):
    assert getattr(Bounds.of(POD, SETTINGS), name) == pytest.approx(EXPECTED[name])


def test_an_absence_of_the_sidecar_is_tolerated_until_one_period_before_the_last_probe():
    assert Bounds.of(POD, SETTINGS).server_liveness.tolerated == 50


def test_a_probe_without_numbers_has_those_of_kubernetes():
    assert Probe.of({"livenessProbe": {}}, "livenessProbe", grace=30) == Probe(10, 1, 3, 30)


def test_a_recovery_period_longer_than_the_timeout_counts_instead_of_it():
    slow = Bounds.of(POD, {**SETTINGS, "recovery_period_seconds": 4})
    assert slow.not_dead_before == pytest.approx(6.3 + 2 + 2 * 4)
    assert slow.dead == pytest.approx(16.3 + 4 + 2 + SLACK)
    assert slow.hung_out == pytest.approx(1.1 + 3 * 4.4 + 2 + SLACK)


@pytest.mark.parametrize("live_period", [0, 5, 6])
def test_without_questions_between_the_rounds_the_rounds_count_alone(live_period):
    bounds = Bounds.of(POD, {**SETTINGS, "live_period_seconds": live_period})
    assert bounds.not_dead_before == 0
    assert bounds.dead == pytest.approx(5.5 + 3 * 2 + SLACK)
    assert bounds.hung_out == pytest.approx(5.5 + 3 * 2 + 2 + SLACK)
    assert bounds.hung_restarted == pytest.approx(11.5 + 60 + 15 + REPLACE + SLACK)


def test_many_failures_that_have_to_be_seen_can_take_longer_than_what_has_to_pass():
    settings = {**SETTINGS, "jitter": 1, "liveness_failure_threshold": 9}
    bounds = Bounds.of(POD, {**settings, "recovery_period_seconds": 3})
    assert bounds.not_dead_before == pytest.approx(6 * 1.5 + 2 + 8 * 3)
    assert bounds.dead == pytest.approx(10 + 9 * 6 + SLACK)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"live_period_seconds": 0},
        {"live_period_seconds": 5},
        {"recovery_period_seconds": 4, "jitter": 0.5, "liveness_failure_threshold": 2},
    ],
    ids=str,
)
def test_the_bounds_and_the_sidecar_wait_equally_long_before_a_server_is_dead(changed):
    settings = {**SETTINGS, **changed}
    expected = Settings(**settings).liveness.min_duration
    assert Bounds.of(POD, settings).not_dead_before == pytest.approx(expected)


def test_the_pods_and_settings_of_the_suite_have_all_that_the_bounds_need():
    settings = effective(yaml.safe_dump(objects.SETTINGS))
    for kind in objects.KINDS:
        workload, _ = objects.inference("one", objects.Shape(kind=kind))
        bounds = Bounds.of(pod_of(workload), settings)
        assert all(getattr(bounds, name) >= 0 for name in EXPECTED)
