"""The bounds of the end-to-end suite are computed from the pod and the settings."""

import pytest
import yaml

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
    "hung_out": 5.5 + 3 * 2 + 2 + SLACK,
    "dead": 5.5 + 3 * 2 + SLACK,
    "hung_restarted": 5.5 + 3 * 2 + 60 + 15 + REPLACE + SLACK,
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
    assert slow.dead == pytest.approx(5.5 + 3 * 4.4 + SLACK)


def test_the_pods_and_settings_of_the_suite_have_all_that_the_bounds_need():
    settings = effective(yaml.safe_dump(objects.SETTINGS))
    for kind in objects.KINDS:
        workload, _ = objects.inference("one", objects.Shape(kind=kind))
        bounds = Bounds.of(pod_of(workload), settings)
        assert all(getattr(bounds, name) >= 0 for name in EXPECTED)
