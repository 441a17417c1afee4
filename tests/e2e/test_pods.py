"""What becomes of pods and their requests: deleted, replaced, of each kind, and built each way."""

import json
import os
import tempfile
import time
from datetime import datetime
from pathlib import Path

import pytest

from tests.deploy.manifests import EXAMPLES, charts, kustomize, only, pod_of, rendered
from tests.deploy.manifests import objects as chart_objects
from tests.e2e import objects
from tests.e2e.bounds import START
from tests.e2e.kubectl import Kubectl, KubectlError
from tests.e2e.promise import promise
from tests.e2e.test_server import out_and_back


@promise("deleted", about=60)
def test_a_deleted_pod_leaves_its_service_before_its_server_stops_and_its_sidecar_last(scenario):
    scenario.put()
    name = scenario.ready_pod()
    since = time.monotonic()
    scenario.kubectl.delete("pod", name)
    left = scenario.out(name, since)
    scenario.record("deleted to pod out", left - since, scenario.bounds.pre_stop)

    pod = scenario.wait(lambda: ended(scenario, name))
    server, health = (objects.state(pod, one)["terminated"] for one in ("server", "health"))
    assert (server["exitCode"], health["exitCode"]) == (0, 0)
    assert health["startedAt"] <= server["startedAt"]
    assert health["finishedAt"] >= server["finishedAt"]
    # Those times are to the second. The server asked the sidecar first and last.
    words = objects.last_words(server)
    assert (words["livez_at_start"], words["livez_at_end"]) == (200, 200)
    # The API server writes until when the pod may take, to the second.
    meta = pod["metadata"]
    deleted = datetime.fromisoformat(meta["deletionTimestamp"]).timestamp()
    waited = words["told_at"] - (deleted - meta["deletionGracePeriodSeconds"])
    assert waited > scenario.bounds.pre_stop - 1


def ended(scenario, name):
    """A pod as the watch saw it when both of its containers had ended."""
    for change in list(scenario.cluster.changes):
        states = [objects.state(change.item, one) for one in ("server", "health")]
        if change.item["metadata"]["name"] == name and all("terminated" in one for one in states):
            return change.item
    return None


@promise("loaded", about=180)
def test_a_rolling_restart_and_deleted_pods_under_load_lose_no_request(scenario):
    kubectl, client = scenario.kubectl, "load"
    scenario.put(replicas=2)
    pods = scenario.ready_pods(2)
    host = kubectl.get("service", scenario.name)["spec"]["clusterIP"]
    # The Service's address. Its name would put the cluster's DNS under test too.
    url = f"[{host}]:8001" if ":" in host else f"{host}:8001"
    kubectl.apply(objects.with_image([objects.load(client, url)], scenario.image))
    scenario.wait(lambda: phase(scenario, client) == "Running")

    def tally():
        """The client's last word."""
        lines = kubectl.logs(client, client, tail=1).splitlines()
        return json.loads(lines[-1]) if lines else {"servers": {}, "lost": {}, "done": False}

    def answered_by(pods):
        servers = tally()["servers"]
        return all(servers.get(pod, 0) >= 20 for pod in pods)

    def replaced(old):
        """The two pods that follow, when the old ones have ended and these have answered."""
        scenario.wait(lambda: not old & {p["metadata"]["name"] for p in scenario.all_pods()})
        new = scenario.ready_pods(2)
        scenario.cluster.ask(lambda: answered_by(new), START)
        return new

    scenario.cluster.ask(lambda: answered_by(pods), START)
    kubectl.restart(scenario.name)
    kubectl.rolled_out(scenario.name, within=240)
    pods = replaced(set(pods))
    record_lost(scenario, "requests lost in a rolling restart", tally())
    for pod in pods:
        kubectl.delete("pod", pod)
        replaced({pod})

    kubectl.python(client, client, "import os, signal; os.kill(1, signal.SIGTERM)")
    scenario.cluster.ask(lambda: tally()["done"], START)
    result = tally()
    kubectl.delete("pod", client)
    record_lost(scenario, "requests lost in all", result)
    scenario.record(
        "requests without an answer", result["sent"] - result["answered"], 0, "requests"
    )


def record_lost(scenario, what, tally):
    lost = tally["lost"]
    scenario.record(f"{what}: {lost}" if lost else what, sum(lost.values()), 0, "requests")


def phase(scenario, name):
    (pod,) = [p for p in scenario.cluster.now("pods") if p["metadata"]["name"] == name] or [{}]
    return pod.get("status", {}).get("phase")


UNREADY = "[-]model:m failed: not_ready"


@promise("stateful", about=60)
def test_the_next_pod_of_a_statefulset_waits_for_the_models_of_the_first(scenario):
    scenario.put("--unready", kind="StatefulSet", replicas=2)
    first, second = f"{scenario.name}-0", f"{scenario.name}-1"
    scenario.wait(lambda: first in scenario.pods() and "server" in scenario.started(first))
    scenario.ask(first, "/readyz", until=UNREADY, within=START)
    assert scenario.pods().keys() == {first}

    since = time.monotonic()
    scenario.revoke(first, "unready")
    into = scenario.back(first, since)
    scenario.record("model ready to pod in", into - since, scenario.bounds.first_in)
    scenario.wait(lambda: second in scenario.pods() and "server" in scenario.started(second))
    scenario.ask(second, "/readyz", until=UNREADY, within=START)
    scenario.revoke(second, "unready")
    assert scenario.ready_pods(2) == [first, second]


@promise("daemon", about=45)
def test_the_pods_of_a_daemonset_leave_their_service_with_their_models(scenario):
    scenario.put(kind="DaemonSet")
    scenario.wait(lambda: scenario.pods() and scenario.serving() == scenario.pods().keys())
    pod = min(scenario.pods())
    out_and_back(scenario, pod)
    assert scenario.restarts(pod) == {"server": 0, "health": 0}


@promise("same", about=15)
def test_the_component_and_the_chart_give_the_same_pod(scenario):
    component = kustomize(EXAMPLES / "demo")
    with tempfile.TemporaryDirectory() as folder:
        chart = chart_objects(rendered(charts(Path(folder)) / "demo"))
    stored = [scenario.kubectl.stored(only(made, "Deployment")) for made in (component, chart)]
    assert normal(stored[0]) == normal(stored[1])


def normal(deployment):
    """What the API server makes of a pod, without the name of its settings."""
    pod = pod_of(deployment)
    for volume in pod["volumes"]:
        volume.get("configMap", {}).pop("name", None)
    return pod


@promise("kubelet", about=60, alone=True)
def test_a_restarted_kubelet_restarts_nothing_and_goes_on_probing(scenario):
    scenario.put()
    pod = scenario.ready_pod()
    before = scenario.started(pod)
    restart_kubelet(scenario, scenario.pods()[pod]["spec"]["nodeName"])
    assert scenario.ready_pod() == pod
    out_and_back(scenario, pod)
    assert scenario.started(pod) == before
    assert scenario.restarts(pod) == {"server": 0, "health": 0}


def restart_kubelet(scenario, node):
    """Restarts a node's kubelet, or skips the promise where that cannot or should not be done."""
    own = scenario.kubectl
    try:
        nodes = len(own.found("nodes"))
    except KubectlError as error:
        pytest.skip(f"no right to see the nodes: {error}")
    if nodes > 1 and os.environ.get("RESTART_KUBELET") != "1":
        pytest.skip(f"RESTART_KUBELET=1 is not set, and the cluster has {nodes} nodes")
    privileged = Kubectl(f"{own.namespace}-node")
    try:
        own.apply([objects.namespace(privileged.namespace, "privileged")])
        made = objects.with_image([objects.kubelet_restart("kubelet", node)], scenario.image)
        privileged.apply(made)

        def finished():
            phase = privileged.get("pod", "kubelet")["status"].get("phase")
            return phase if phase in ("Succeeded", "Failed") else ""

        if scenario.cluster.ask(finished, 2 * START) == "Failed":
            pytest.skip(f"{node}: {privileged.logs('kubelet', 'restart')}")
    except KubectlError as error:
        pytest.skip(f"no right to restart a kubelet: {error}")
    finally:
        own.delete("namespace", privileged.namespace)
