"""What the sidecar tells of the server, shown by the kubelet and the Service of a real cluster."""

import time

from tests.e2e import objects
from tests.e2e.bounds import START
from tests.e2e.promise import promise

LOAD_SECONDS = 120
MODELS = 1000


@promise("gated", about=60)
def test_a_rollout_waits_for_the_models_and_goes_on_when_they_are_ready(scenario):
    scenario.put()
    old = scenario.ready_pod()

    scenario.put("--unready", patience=20)
    (new,) = scenario.wait(lambda: scenario.pods().keys() - {old})
    scenario.wait(lambda: progress(scenario) == "ProgressDeadlineExceeded")
    scenario.wait(lambda: "server" in scenario.started(new))
    assert objects.is_ready(scenario.pods()[old])
    assert scenario.serving() == {old}

    since = time.monotonic()
    scenario.revoke(new, "unready")
    into = scenario.back(new, since)
    scenario.record("model ready to pod in", into - since, scenario.bounds.first_in)
    scenario.wait(lambda: progress(scenario) == "NewReplicaSetAvailable")
    assert scenario.ready_pod() == new
    assert scenario.restarts(new) == {"server": 0, "health": 0}


def progress(scenario):
    (deployment,) = [
        item
        for item in scenario.cluster.now("deployments")
        if item["metadata"]["name"] == scenario.name
    ]
    return objects.condition(deployment, "Progressing").get("reason")


@promise("unready", about=45)
def test_a_model_that_is_not_ready_takes_its_pod_out_of_the_service_and_restarts_nothing(scenario):
    scenario.put(replicas=2)
    failing, other = scenario.ready_pods(2)
    out_and_back(scenario, failing)
    assert scenario.serving() == {failing, other}
    assert scenario.restarts(failing) == {"server": 0, "health": 0}


@promise("thousand", about=70)
def test_one_model_of_a_thousand_counts_as_fast_as_one_alone(scenario):
    names = ["m", *(f"m{number}" for number in range(1, MODELS))]
    scenario.put(f"--models={MODELS}", settings={"models": names})
    pod = scenario.ready_pod()
    out_and_back(scenario, pod)

    duration = float(scenario.kubectl.python(pod, "server", TIME_STATUS))
    scenario.record("one answer to /status", duration, 2)
    assert scenario.restarts(pod) == {"server": 0, "health": 0}


TIME_STATUS = """
import time, urllib.request
began = time.monotonic()
urllib.request.urlopen("http://localhost:9808/status", timeout=30).read()
print(time.monotonic() - began)
"""


def out_and_back(scenario, pod):
    """A model of the pod is not ready for a while."""
    since = time.monotonic()
    scenario.order(pod, "unready")
    out = scenario.out(pod, since)
    scenario.record("model unready to pod out", out - since, scenario.bounds.unready_out)
    assert scenario.ask(pod, "/readyz").startswith("503 ")
    assert scenario.ask(pod, "/healthz").startswith("200 ")

    since = time.monotonic()
    scenario.revoke(pod, "unready")
    back = scenario.back(pod, since)
    scenario.record("model ready to pod back", back - since, scenario.bounds.ready_back)


@promise("crashed", about=45)
def test_a_server_that_exits_leaves_its_service_at_once_and_comes_back(scenario):
    scenario.put()
    pod = scenario.ready_pod()

    since = time.monotonic()
    scenario.order(pod, "crash")
    out = scenario.out(pod, since)
    scenario.record("server gone to pod out", out - since, scenario.bounds.crashed_out)
    back = scenario.back(pod, out)
    scenario.record("server gone to pod back", back - since, START)
    assert scenario.restarts(pod) == {"server": 1, "health": 0}


@promise("hung", about=280)
def test_a_hung_server_is_restarted_after_proof_and_may_load_as_long_as_before(scenario):
    # Longer than the livenessProbe alone would bear.
    loads = 75
    scenario.put(f"--load-seconds={loads}")
    assert loads > scenario.bounds.server_liveness.refused
    pod = scenario.ready_pod()

    since = time.monotonic()
    scenario.order(pod, "hang")
    said = scenario.ask(pod, "/healthz", until="503 ", within=2 * scenario.bounds.dead)
    scenario.record("hung to /healthz 503", time.monotonic() - since, scenario.bounds.dead)
    assert "[-]server-live failed: timeout" in said
    out = scenario.out(pod, since)
    scenario.record("hung to pod out", out - since, scenario.bounds.hung_out)
    again = scenario.restarted(pod, "server")
    scenario.record("hung to server restarted", again - since, scenario.bounds.hung_restarted)
    scenario.wait(lambda: scenario.was_killed(pod, "server"))

    back = scenario.back(pod, out)
    scenario.record("server restarted to pod back", back - again, loads + START)
    assert scenario.restarts(pod) == {"server": 1, "health": 0}


@promise("loading", about=150)
def test_a_server_that_loads_for_two_minutes_is_not_restarted(scenario):
    scenario.put(f"--load-seconds={LOAD_SECONDS}")
    (pod,) = scenario.wait(lambda: [n for n in scenario.pods() if "server" in scenario.started(n)])
    since = time.monotonic()
    ready = scenario.back(pod, since)
    scenario.record("server started to pod in", ready - since, LOAD_SECONDS + START)
    assert ready - since > LOAD_SECONDS / 2
    assert scenario.restarts(pod) == {"server": 0, "health": 0}
