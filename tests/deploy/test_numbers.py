"""The numbers of the probes are these, in every manifest, chart, example and text."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.conftest import including_chart
from tests.deploy.manifests import (
    CHARTS,
    EXAMPLES,
    KUSTOMIZE,
    Object,
    charts,
    has_pod,
    objects,
    pod_of,
    rendered,
    sidecar_of,
)

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TIMING = (ROOT / "docs" / "timing.md").read_text()

# Period, time-out, failureThreshold and the probe's own grace period, 0 for none; in seconds.
PROBES = {
    ("sidecar", "startupProbe"): (1, 2, 120, 0),
    ("sidecar", "livenessProbe"): (4, 2, 3, 1),
    ("sidecar", "readinessProbe"): (2, 2, 1, 0),
    ("server", "startupProbe"): (10, 2, 180, 0),
    ("server", "livenessProbe"): (10, 2, 6, 15),
}
PRE_STOP = 10
# At SIGTERM MLServer drops what is in flight.
LONGER = {"mlserver": 20}
END = 5  # what the livenessProbe's grace period has beyond the preStop, which runs within it
DRAIN = 20  # of a plain container; a native sidecar is told to stop after the server has ended
DEFAULT_GRACE = 30  # Kubernetes' own for a pod


def numbers(probe: Object) -> tuple[Any, ...]:
    """What the table has of a probe."""
    fields = ("periodSeconds", "timeoutSeconds", "failureThreshold")
    return (*(probe[field] for field in fields), probe.get("terminationGracePeriodSeconds", 0))


def pre_stop(container: Object) -> int:
    """The seconds that a container's preStop sleeps."""
    ((kind, action),) = container["lifecycle"]["preStop"].items()
    if kind == "sleep":
        return int(action["seconds"])
    assert (kind, action["command"][0]) == ("exec", "sleep")
    return int(action["command"][1])


def test_every_pod_has_the_probes_of_the_table(source):
    for pod in source.pods:
        containers = {"sidecar": sidecar_of(pod), "server": pod["containers"][0]}
        found = {
            (whose, kind): numbers(probe)
            for whose, container in containers.items()
            for kind, probe in container.items()
            if kind.endswith("Probe")
        }
        *probe, _ = PROBES["server", "livenessProbe"]
        grace = LONGER.get(pod["containers"][0]["name"], PRE_STOP) + END
        assert found == {**PROBES, ("server", "livenessProbe"): (*probe, grace)}


@pytest.mark.parametrize(
    ("server", "grace"),
    [
        ({"preStopSeconds": 30}, 35),
        ({"preStopSeconds": 10}, 15),
        ({"preStopSeconds": 0}, 15),
        ({"preStopSeconds": 30, "livenessProbe": {"terminationGracePeriodSeconds": 40}}, 40),
        ({"livenessProbe": {"terminationGracePeriodSeconds": 3}}, 15),
        ({"preStopSeconds": 30, "livenessProbe": {"terminationGracePeriodSeconds": None}}, 0),
    ],
    ids=str,
)
@pytest.mark.parametrize("native", [True, False])
def test_the_livenessprobe_of_the_chart_leaves_a_longer_pre_stop_its_time(
    server, grace, native, tmp_path
):
    folder = charts(tmp_path) / "demo" if native else including_chart(tmp_path)
    values = {"inference-health-sidecar": {"native": native, "server": server}}
    (pod,) = [pod_of(item) for item in objects(rendered(folder, values)) if has_pod(item)]
    *_, found = numbers(pod["containers"][0]["livenessProbe"])
    assert found == grace


def test_every_server_waits_before_it_ends_and_has_time_for_it(source):
    graces = [
        pod_of(item)["terminationGracePeriodSeconds"]
        for item in source.items
        if has_pod(item) and "terminationGracePeriodSeconds" in pod_of(item)
    ]
    grace = min(graces, default=DEFAULT_GRACE)
    for pod in source.pods:
        server, sidecar = pod["containers"][0], sidecar_of(pod)
        waits = pre_stop(server)
        assert waits == LONGER.get(server["name"], PRE_STOP)
        assert waits + 10 <= grace
        assert waits + END <= server["livenessProbe"]["terminationGracePeriodSeconds"]
        drain = {e["name"]: e.get("value") for e in sidecar["env"]}["SIDECAR_DRAIN_SECONDS"]
        native = sidecar.get("restartPolicy") == "Always"
        assert drain == ("0" if native else str(DRAIN))
        # A plain one is told to stop with the server, and sees its end.
        assert native or waits + 10 <= DRAIN < grace
        assert "lifecycle" not in sidecar


def test_a_sleep_of_kubernetes_own_is_only_where_every_kubernetes_has_it(source):
    for pod in source.pods:
        native = sidecar_of(pod).get("restartPolicy") == "Always"
        (kind,) = pod["containers"][0]["lifecycle"]["preStop"]
        kserve = pod["containers"][0]["name"] == "kserve-container"
        assert kind == ("sleep" if native and not kserve else "exec")


@pytest.mark.parametrize("workload", ["triton", "mlserver", "kserve-inferenceservice"])
def test_an_example_never_has_fewer_replicas_than_it_is_given(workload):
    texts = [file.read_text() for file in sorted((EXAMPLES / workload).glob("*.yaml"))]
    documents = [document for text in texts for document in yaml.safe_load_all(text)]
    by_kind = {document["kind"]: document for document in documents if "kind" in document}
    budget = by_kind["PodDisruptionBudget"]["spec"]
    assert (budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    if "Deployment" in by_kind:
        spec = by_kind["Deployment"]["spec"]
        assert spec["minReadySeconds"] == 10
        assert budget["selector"] == spec["selector"]
        update = spec["strategy"]["rollingUpdate"]
    else:
        update = by_kind["InferenceService"]["spec"]["predictor"]["deploymentStrategy"][
            "rollingUpdate"
        ]
    assert update == {"maxUnavailable": 0, "maxSurge": 1}


def test_the_values_of_the_chart_are_those_of_the_table():
    server = yaml.safe_load((CHARTS / "inference-health-sidecar" / "values.yaml").read_text())[
        "server"
    ]
    assert server["preStopSeconds"] == PRE_STOP
    for kind in ("startupProbe", "livenessProbe"):
        assert numbers(server[kind]) == PROBES["server", kind]


TEXTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    DEPLOY / "runbook.md",
    *sorted(DEPLOY.glob("*.yaml")),
    *sorted(KUSTOMIZE.rglob("*.yaml")),
    *sorted(CHARTS.rglob("*.md")),
    *sorted((DEPLOY / "prometheus").glob("*.yaml")),
]


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_where_a_text_names_a_period_and_a_threshold_they_are_those_of_a_probe(file):
    told = set(re.findall(r"(\d+) s x (\d+)\b", file.read_text()))
    known = {(str(period), str(threshold)) for period, _, threshold, _ in PROBES.values()}
    assert told <= known


SAYING = ("doctor.md", "install.md", "pod.yaml", "README.md", "values.yaml")


def test_every_text_says_the_same_of_what_a_start_costs():
    values = CHARTS / "inference-health-sidecar" / "values.yaml"
    told = [
        (file.name, cost)
        for file in [*TEXTS, values]
        for cost in re.findall(r"(\S+ \S+) CPU seconds?", file.read_text())
    ]
    assert told == [(name, "about 0.4") for name in SAYING]


def test_every_text_says_the_same_of_a_frozen_server():
    _, most = seconds("`/readyz` fails after the server froze or its network failed")
    assert f"after\n#   6 to {most} seconds" in (DEPLOY / "pod.yaml").read_text()
    benchmarks = (ROOT / "benchmarks" / "README.md").read_text()
    assert f"the documented bound is {most} s" in benchmarks


def seconds(name: str) -> tuple[float, float]:
    """The least and the most at the defaults in a row of docs/timing.md."""
    row = rf"^\| {re.escape(name)} \|.*\| ([\d.]+)(?: to ([\d.]+))? s \|$"
    found = re.search(row, TIMING, re.MULTILINE)
    assert found
    return float(found[1]), float(found[2] or found[1])


def test_the_page_adds_up_the_probes_as_the_table_has_them():
    out, _, once, _ = PROBES["sidecar", "readinessProbe"]
    period, _, threshold, grace = PROBES["server", "livenessProbe"]
    own, own_timeout, own_threshold, own_grace = PROBES["sidecar", "livenessProbe"]
    _, killed = seconds("`/healthz` fails after the server was killed")
    _, froze = seconds("`/readyz` fails after the server froze or its network failed")
    least, most = seconds("`/healthz` fails after the server froze or its network failed")
    earliest = (threshold - 1) * period
    sentences = (
        f"(readiness {out} s x {once}, liveness {period} s x {threshold})",
        f"is removed from its Service 0 to {out} s after its server was killed",
        f"and 6 to {froze + out:.0f} s after it froze",
        f"restarted {earliest} to {killed + threshold * period:.0f} s after it was killed",
        f"its termination begins {least + earliest:.0f} to {most + threshold * period:.0f} s after"
        " it froze: the preStop starts then",
        f"after {earliest} to {threshold * period} s without a sidecar",
        f"killed {grace} s later",
        f"livenessProbe ({own} s x {own_threshold}, a grace period of {own_grace} s)",
        f"in {(own_threshold - 1) * own + own_timeout} to "
        f"{own_threshold * own + own_timeout + own_grace} s",
    )
    plain = " ".join(TIMING.split())
    assert [sentence for sentence in sentences if sentence not in plain] == []
