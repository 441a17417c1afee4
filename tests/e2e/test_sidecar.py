"""What a sidecar that fails, or whose settings are wrong, does to its server: nothing."""

import signal
import time

import yaml

from tests.e2e import objects
from tests.e2e.bounds import CONFIG_MAP, START
from tests.e2e.promise import promise

NO_CPU = "20m"


@promise("frozen", about=60)
def test_a_frozen_sidecar_is_restarted_and_its_server_is_not(scenario):
    scenario.put(shared_processes=True)
    pod = scenario.ready_pod()
    server = scenario.started(pod)["server"]

    since = time.monotonic()
    scenario.signal(pod, "sidecar", signal.SIGSTOP)
    out = scenario.out(pod, since)
    scenario.record("frozen to pod out", out - since, scenario.bounds.frozen_out)
    again = scenario.restarted(pod, "health")
    scenario.record("frozen to sidecar restarted", again - since, scenario.bounds.frozen_restarted)
    scenario.wait(lambda: scenario.was_killed(pod, "health"))
    back = scenario.back(pod, out)
    scenario.record("sidecar restarted to pod back", back - again, START)
    alone(scenario, pod, server, restarts=1)


@promise("killed", about=110)
def test_a_killed_or_crash_looping_sidecar_restarts_no_server(scenario):
    scenario.put(shared_processes=True)
    pod = scenario.ready_pod()
    server = scenario.started(pod)["server"]
    scenario.may_crash = True
    # The kubelet waits 0, 10 and 20 seconds before it starts the container again.
    for times in (1, 2, 3):
        since = time.monotonic()
        scenario.signal(pod, "sidecar", signal.SIGKILL)
        scenario.restarted(pod, "health", times)
        back = scenario.back(pod, scenario.out(pod, since))
        what = f"killed for time {times} to pod back"
        scenario.record(what, back - since, scenario.bounds.server_liveness.tolerated)
    waited = {
        objects.state(change.item, "health").get("waiting", {}).get("reason")
        for change in list(scenario.cluster.changes)
        if change.kind == "pods" and change.item["metadata"]["name"] == pod
    }
    assert "CrashLoopBackOff" in waited
    alone(scenario, pod, server, restarts=3)


@promise("throttled", about=110)
def test_a_sidecar_almost_without_cpu_starts_again_before_its_server_pays(scenario):
    scenario.put(shared_processes=True, sidecar_cpu=NO_CPU)
    pod = scenario.ready_pod()
    server = scenario.started(pod)["server"]

    since = time.monotonic()
    scenario.signal(pod, "sidecar", signal.SIGKILL)
    scenario.restarted(pod, "health")
    back = scenario.back(pod, scenario.out(pod, since))
    what = f"killed with a CPU limit of {NO_CPU} to pod back"
    scenario.record(what, back - since, scenario.bounds.server_liveness.tolerated)
    alone(scenario, pod, server, restarts=1)


def alone(scenario, pod, server, *, restarts):
    """The sidecar was restarted so often, and the server is the one that was there before."""
    assert scenario.restarts(pod) == {"server": 0, "health": restarts}
    assert scenario.started(pod)["server"] == server


@promise("settings", about=60)
def test_settings_that_change_to_wrong_and_broken_ones_and_back_restart_nothing(scenario):
    scenario.put()
    pod = scenario.ready_pod()
    before = scenario.started(pod)

    since = configure(scenario, pod, yaml.safe_dump({**objects.SETTINGS, "models": ["absent"]}))
    out = scenario.out(pod, since)
    bound = CONFIG_MAP + scenario.bounds.unready_out
    scenario.record("ConfigMap with a wrong model to pod out", out - since, bound)
    assert "[-]model:absent failed: model_not_found" in scenario.ask(pod, "/readyz")

    since = configure(scenario, pod, "models: [absent")
    refused = "\ninference_sidecar_config_last_reload_successful 0.0\n"
    scenario.ask(pod, "/metrics", until=refused, within=2 * bound)
    scenario.record("ConfigMap with broken YAML to rejected", time.monotonic() - since, bound)
    assert "[-]model:absent failed: model_not_found" in scenario.ask(pod, "/readyz")

    since = configure(scenario, pod, yaml.safe_dump(objects.SETTINGS))
    back = scenario.back(pod, since)
    scenario.record("ConfigMap as before to pod back", back - since, bound)
    assert scenario.started(pod) == before


def configure(scenario, pod, text):
    """Changes the ConfigMap. Returns when."""
    since = time.monotonic()
    scenario.configure(text)
    # A change of the pod lets the kubelet look at the ConfigMap too, before its minute is over.
    scenario.kubectl.annotate(pod, f"changed={since:.0f}")
    return since
