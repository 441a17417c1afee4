"""What the pod promises, shown by the kubelet and the Service of a real cluster.

Not run yet against a cluster: there was none where it was written. Its parts are tested as
far as they can be without one, in tests/deploy/test_e2e_parts.py.
"""

import json
import time
from functools import partial

import pytest

from tests.deploy.manifests import EXAMPLES, charts, rendered
from tests.deploy.manifests import objects as chart_objects
from tests.e2e import objects
from tests.e2e.scenario import START_SECONDS, Scenario
from tests.support import wait_until

pytestmark = pytest.mark.timeout(600)

LOAD_SECONDS = 120
PRE_STOP_SECONDS = 5  # workload/inference.yaml
LIVENESS_SECONDS = 10  # between two probes


@pytest.fixture(scope="session", autouse=True)
def loading(kubectl, image):
    """A server that loads while the other tests run."""
    made = Scenario(kubectl, image, "loading")
    made.put(f"--load-seconds={LOAD_SECONDS}")
    return made


@pytest.mark.scenario("gated")
def test_a_rollout_waits_for_the_models_and_goes_on_when_they_are_ready(scenario):
    scenario.put()
    old = scenario.ready_pod()

    scenario.put("--unready", patience=20)
    (new,) = wait_until(lambda: scenario.pods().keys() - {old}, START_SECONDS)

    def progress():
        return objects.condition(scenario.deployment(), "Progressing").get("reason")

    wait_until(lambda: progress() == "ProgressDeadlineExceeded", START_SECONDS)
    wait_until(lambda: "running" in state(scenario.pod(new), "server"), START_SECONDS)
    assert objects.is_ready(scenario.pod(old))
    assert scenario.serving() == {old}

    scenario.revoke(new, "unready")
    wait_until(lambda: progress() == "NewReplicaSetAvailable", START_SECONDS)
    assert scenario.ready_pod() == new
    assert objects.restarts(scenario.pod(new)) == {"server": 0, "health": 0}


@pytest.mark.scenario("flaky")
def test_a_model_that_turns_unready_takes_its_pod_out_of_the_service_and_back(scenario):
    scenario.put(replicas=2)
    both = wait_until(lambda: two(scenario.serving()), START_SECONDS)
    failing = min(both)

    scenario.order(failing, "unready")
    wait_until(lambda: scenario.serving() == both - {failing}, 30)
    assert not objects.is_ready(scenario.pod(failing))

    scenario.revoke(failing, "unready")
    wait_until(lambda: scenario.serving() == both, 30)
    assert objects.restarts(scenario.pod(failing)) == {"server": 0, "health": 0}


@pytest.mark.scenario("hung")
def test_a_hung_server_is_restarted_after_proof_and_only_its_container(scenario):
    # The second container loads as long as the first, longer than a livenessProbe would bear.
    scenario.put("--load-seconds=45")
    pod = scenario.ready_pod()

    scenario.order(pod, "hang")
    wait_until(lambda: objects.restarts(scenario.pod(pod))["server"] == 1, 120)
    assert any("Liveness" in told and "503" in told for told in scenario.complaints(pod))

    assert scenario.ready_pod() == pod
    assert objects.restarts(scenario.pod(pod)) == {"server": 1, "health": 0}


@pytest.mark.scenario("killed")
def test_a_sidecar_killed_and_crash_looping_restarts_no_server_within_its_grace(scenario):
    scenario.put(shared_processes=True)
    pod = scenario.ready_pod()
    began = state(scenario.pod(pod), "server")["running"]["startedAt"]

    def restarted(times):
        now = scenario.pod(pod)
        return objects.restarts(now)["health"] == times and "running" in state(now, "health")

    scenario.kill_sidecar(pod)
    wait_until(lambda: restarted(1), 60)
    assert scenario.ready_pod() == pod

    # The grace is three probes in a row: one has to pass before it begins anew.
    there_at = time.monotonic()
    wait_until(lambda: time.monotonic() > there_at + LIVENESS_SECONDS, 60)
    # Held back for ten seconds, as the kubelet does it with what ends too often.
    with scenario.watch_pods() as watch:
        scenario.kill_sidecar(pod)
        wait_until(lambda: restarted(2), 60)
        reasons = {waits_for(event.item) for event in watch.heard()}
    assert "CrashLoopBackOff" in reasons
    assert scenario.ready_pod() == pod

    assert objects.restarts(scenario.pod(pod)) == {"server": 0, "health": 2}
    assert state(scenario.pod(pod), "server")["running"]["startedAt"] == began


def state(pod, container):
    return objects.container(pod, container).get("state", {})


def waits_for(pod):
    """Why the sidecar waits to be started, if it does."""
    return state(pod, "health").get("waiting", {}).get("reason")


@pytest.mark.scenario("ordered")
def test_the_sidecar_is_there_before_its_server_and_until_it_has_ended(scenario):
    scenario.put()
    name = scenario.ready_pod()
    with scenario.watch_pods() as watch:
        wait_until(watch.heard, 30)
        scenario.delete(name)
        pod = ended(name, watch)

    server, health = (objects.terminated(pod, container) for container in ("server", "health"))
    assert (server["exitCode"], health["exitCode"]) == (0, 0)
    assert health["startedAt"] <= server["startedAt"]
    assert health["finishedAt"] >= server["finishedAt"]
    # Those times are to the second. The server asked the sidecar first and last.
    words = objects.last_words(server)
    assert (words["livez_at_start"], words["livez_at_end"]) == (200, 200)


@pytest.mark.scenario("drained")
def test_a_pod_has_left_its_service_before_its_server_is_told_to_stop(scenario):
    scenario.put()
    name = scenario.ready_pod()
    with scenario.watch_pods() as watch, scenario.watch_endpoints() as slices:
        wait_until(lambda: watch.heard() and slices.heard(), 30)
        deleted_at = time.monotonic()
        scenario.delete(name)
        pod = ended(name, watch)
        of_pod = [event for event in slices.heard() if name in objects.endpoints([event.item])]

    words = objects.last_words(objects.terminated(pod, "server"))
    assert words["told_at"] - words["leaving_at"] >= PRE_STOP_SECONDS
    left = [event.at for event in of_pod if not objects.endpoints([event.item])[name]]
    assert left[0] - deleted_at < PRE_STOP_SECONDS


def ended(name, watch):
    """A pod as the watch saw it when both of its containers had ended."""

    def seen():
        for event in watch.heard():
            done = [objects.terminated(event.item, part) for part in ("server", "health")]
            if event.item["metadata"]["name"] == name and all(done):
                return event.item
        return None

    return wait_until(seen, 90)


@pytest.mark.scenario("loaded")
def test_a_rolling_restart_under_load_loses_no_request(scenario, kubectl, image):
    scenario.put(replicas=2)
    old = wait_until(lambda: two(scenario.serving()), START_SECONDS)
    kubectl.apply(objects.with_image([objects.load("load", scenario.address())], image))

    def tally():
        """The client's last word."""
        started = kubectl.get("pod", "load")["status"]["phase"] != "Pending"
        lines = kubectl.logs("load", "load").splitlines() if started else []
        return json.loads(lines[-1]) if lines else {"servers": {}}

    def answered_by(pods):
        servers = tally()["servers"]
        return all(servers.get(pod, 0) >= 20 for pod in pods)

    wait_until(lambda: answered_by(old), START_SECONDS)
    kubectl.restart(scenario.name)
    kubectl.rolled_out(scenario.name, within=240)
    new = wait_until(lambda: two(scenario.serving() - old), START_SECONDS)
    wait_until(lambda: answered_by(new), 60)
    # The old ones have gone whole, with whatever they had in flight.
    wait_until(lambda: not old & names(kubectl.found("pods")), 120)

    kubectl.python("load", "load", "import os, signal; os.kill(1, signal.SIGTERM)")
    wait_until(lambda: tally()["done"], 30)
    result = tally()
    assert result["lost"] == {}
    assert result["answered"] == result["sent"]
    kubectl.delete("pod", "load")


def two(pods):
    return pods if len(pods) == 2 else None


def names(items):
    return {item["metadata"]["name"] for item in items}


def test_the_component_and_the_chart_give_the_same_pod(kubectl, image, tmp_path):
    component = objects.built(EXAMPLES / "demo")
    chart = chart_objects(rendered(charts(tmp_path) / "demo", name="chart"))
    stored = []
    for made in (component, chart):
        # Without their settings: the component's have the name of those of the other tests.
        (deployment,) = [item for item in made if item["kind"] == "Deployment"]
        kubectl.apply(objects.with_image([deployment], image))
        labels = deployment["spec"]["selector"]["matchLabels"]
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        pods = wait_until(partial(kubectl.found, "pods", selector), START_SECONDS)
        stored.append(normal(pods[0]["spec"]))
        kubectl.delete("deployment", deployment["metadata"]["name"])
    assert stored[0] == stored[1]


def normal(spec):
    """What the API server stored of a pod, without the node and the name of the settings."""
    spec.pop("nodeName", None)
    for volume in spec["volumes"]:
        volume.get("configMap", {}).pop("name", None)
    return spec


def test_a_server_that_loads_for_two_minutes_is_not_restarted(loading):
    pod = loading.pod(loading.ready_pod(within=LOAD_SECONDS + START_SECONDS))
    assert objects.restarts(pod) == {"server": 0, "health": 0}
    began = state(pod, "server")["running"]["startedAt"]
    assert objects.seconds(began, objects.condition(pod, "Ready")["lastTransitionTime"]) >= 120
