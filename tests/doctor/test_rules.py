"""Each kind of mistake: a manifest that has it, and one that nearly has it."""

from pathlib import Path

import pytest

from sidecar.doctor import servers
from sidecar.doctor.examination import RULES, examine
from sidecar.doctor.findings import Severity, edit
from tests.doctor.spoiling import (
    SPOIL,
    budget,
    ends_in,
    flag,
    found,
    http,
    parsed,
    server,
    sidecar,
    spec,
    spoilt,
    strategy,
    variable,
    without,
    written,
)

CAREFUL = Path(__file__).with_name("careful.yaml").read_text()
# The same for other servers, and with a plain sidecar.
MLSERVER = (
    CAREFUL.replace("nvidia/tritonserver:24.10-py3", "seldonio/mlserver:1.7.1")
    .replace("localhost:8001", "localhost:8081")
    .replace(CAREFUL[CAREFUL.index("          args:") : CAREFUL.index("          lifecycle:")], "")
)
TORCHSERVE = MLSERVER.replace("seldonio/mlserver:1.7.1", "pytorch/torchserve:0.12.0").replace(
    "localhost:8081", "localhost:7070"
)
TORCHSERVE = TORCHSERVE.replace(
    "          lifecycle:",
    "          env: [{name: TS_OPEN_INFERENCE_PROTOCOL, value: oip}]\n          lifecycle:",
)
PLAIN_SIDECAR = spoilt(CAREFUL, "IHS028")
BASES = dict.fromkeys(SPOIL, CAREFUL)
BASES |= {"IHS013": MLSERVER, "IHS043": MLSERVER, "IHS044": TORCHSERVE}
BASES |= dict.fromkeys(("IHS026", "IHS027"), str(PLAIN_SIDECAR))

NEARLY = {
    "IHS001": lambda p: server(p).update(
        readinessProbe=http("/v2/health/ready", 8000, periodSeconds=5)
    ),
    "IHS002": lambda p: server(p)["livenessProbe"]["httpGet"].update(path="/healthz"),
    "IHS003": lambda p: [server(p).pop(kind) for kind in ("startupProbe", "livenessProbe")],
    "IHS004": lambda p: server(p)["livenessProbe"].update(initialDelaySeconds=1800),
    "IHS005": lambda p: sidecar(p)["readinessProbe"].update(initialDelaySeconds=29),
    "IHS006": lambda p: server(p)["livenessProbe"].update(timeoutSeconds=2),
    "IHS007": lambda p: server(p)["livenessProbe"].update(failureThreshold=2, periodSeconds=15),
    "IHS008": lambda p: server(p)["livenessProbe"].update(periodSeconds=10, failureThreshold=3),
    "IHS009": lambda p: sidecar(p)["readinessProbe"].update(successThreshold=2),
    "IHS010": lambda p: server(p).update(
        ports=[{"name": "health", "containerPort": 9808}],
        livenessProbe={
            **server(p)["livenessProbe"],
            "httpGet": {"path": "/healthz", "port": "health"},
        },
    ),
    "IHS011": lambda p: server(p).update(readinessProbe=http("/metrics", 8002, periodSeconds=5)),
    "IHS012": lambda p: sidecar(p)["livenessProbe"]["httpGet"].update(path="/livez?verbose"),
    "IHS013": lambda p: (
        variable(sidecar(p), "SIDECAR_GRPC_PORT", "9809"),
        server(p).update(readinessProbe={"grpc": {"port": 9809, "service": "readyz"}}),
    ),
    "IHS014": lambda p: server(p).update(
        readinessProbe={"exec": {"command": ["grep", "-q", "python", "/tmp/ready"]}}
    ),
    "IHS015": lambda p: server(p).update(
        readinessProbe=http("/v2/health/ready", 8000, periodSeconds=5)
    ),
    "IHS016": lambda p: sidecar(p).pop("livenessProbe"),
    "IHS017": lambda p: sidecar(p).pop("startupProbe"),
    "IHS018": lambda p: sidecar(p)["readinessProbe"].update(successThreshold=1),
    "IHS019": lambda p: server(p).update(
        readinessProbe=sidecar(p).pop("readinessProbe") and http("/readyz", 9808, periodSeconds=2)
    ),
    "IHS020": lambda p: server(p)["livenessProbe"]["httpGet"].update(path="/healthz?verbose"),
    "IHS021": lambda p: sidecar(p)["readinessProbe"].update(periodSeconds=30),
    "IHS022": lambda p: (
        server(p).update(lifecycle={"preStop": {"sleep": {"seconds": 29}}}),
        server(p)["livenessProbe"].update(terminationGracePeriodSeconds=30),
    ),
    "IHS023": lambda p: ends_in(p, 40),
    "IHS024": lambda p: server(p).update(
        lifecycle={"preStop": {"httpGet": {"path": "/drain", "port": 9}}}
    ),
    "IHS025": lambda p: server(p)["livenessProbe"].update(terminationGracePeriodSeconds=11),
    "IHS026": lambda p: variable(sidecar(p), "SIDECAR_DRAIN_SECONDS", "59"),
    "IHS027": lambda p: variable(sidecar(p), "SIDECAR_DRAIN_SECONDS", "10"),
    "IHS028": lambda p: spec(p)["initContainers"].append({"name": "fetch", "image": "fetch"}),
    "IHS029": lambda p: spec(p)["initContainers"].append({"name": "fetch", "image": "fetch"}),
    "IHS030": lambda p: spec(p)["initContainers"].insert(0, {"name": "fetch", "image": "fetch"}),
    "IHS031": lambda p: sidecar(p)["resources"]["limits"].update(cpu="100m", memory="96Mi"),
    "IHS032": lambda p: variable(sidecar(p), "SIDECAR_MODELS", "bert:3"),
    "IHS033": lambda p: (
        variable(server(p), "MAX_TOKENS", "4096"),
        variable(server(p), "TOKEN", "$(OTHER)"),
        variable(server(p), "TOKEN_FILE", "/run/token"),
    ),
    "IHS034": lambda p: spec(p).update(automountServiceAccountToken=True),
    "IHS035": lambda p: (
        sidecar(p)["securityContext"].pop("runAsNonRoot"),
        spec(p).update(securityContext={"runAsNonRoot": True}),
    ),
    "IHS036": lambda p: spec(p).update(securityContext={"runAsNonRoot": True}),
    "IHS037": lambda p: (
        variable(sidecar(p), "SIDECAR_SERVER_URL", "localhost:9001"),
        flag(p, servers.TRITON, lambda f: [*f, "--grpc-port=9001"]),
    ),
    "IHS038": lambda p: variable(sidecar(p), "SIDECAR_TLS_CA_FILE", "/not/here/ca.pem"),
    "IHS039": lambda p: (
        variable(sidecar(p), "SIDECAR_CANARY", "off"),
        variable(sidecar(p), "SIDECAR_CANARY_DIR", "/not/here"),
    ),
    "IHS040": lambda p: ends_in(p, 40),
    "IHS041": lambda p: flag(p, servers.TRITON, lambda f: [*f, "--strict-readiness=true"]),
    "IHS042": lambda p: flag(
        p, servers.TRITON, lambda f: [*without(f, "--load-model"), "--model-control-mode=poll"]
    ),
    "IHS043": lambda p: variable(server(p), "MLSERVER_PARALLEL_WORKERS", "1"),
    "IHS044": lambda p: (
        variable(server(p), "TS_OPEN_INFERENCE_PROTOCOL", "false"),
        variable(
            sidecar(p),
            "SIDECAR_GRPC_SERVICE",
            "org.pytorch.serve.grpc.openinference.GRPCInferenceService",
        ),
    ),
    "IHS045": lambda p: flag(
        p, servers.TRITON, lambda f: [*f, "--load-model=m", "--exit-on-error=false"]
    ),
    "IHS046": lambda p: (budget(p, None), p.document.data["spec"].update(replicas=1)),
    "IHS047": lambda p: budget(p, {"minAvailable": 1}),
    "IHS048": lambda p: strategy(p, {"rollingUpdate": {"maxUnavailable": "50%"}}),
    "IHS049": lambda p: (
        p.document.data["spec"].update(replicas=1),
        p.document.data["spec"].update(strategy={"type": "Recreate"}),
    ),
}


def nearly(way: str) -> str:
    base = BASES[way]
    if way == "IHS001":
        base = str(spoilt(base, way))
    documents, (pod, *_) = parsed(base)
    NEARLY[way](pod)
    return written(documents)


def test_there_is_a_way_to_make_and_nearly_to_make_each_mistake():
    assert list(SPOIL) == list(NEARLY) == sorted(RULES)
    assert len(RULES) >= 30
    assert sorted(RULES) == [f"IHS{n:03}" for n in range(1, len(RULES) + 1)]


@pytest.mark.parametrize("base", [CAREFUL, MLSERVER, TORCHSERVE], ids=["triton", "mlserver", "ts"])
def test_nothing_is_found_where_nothing_is_wrong(base):
    assert found(base) == []


@pytest.mark.parametrize("way", SPOIL)
def test_the_mistake_is_found_and_nothing_else(way):
    text = spoilt(BASES[way], way)
    assert text is not None
    plain = ["IHS028"] if BASES[way] is PLAIN_SIDECAR else []
    assert found(text) == sorted([way, *plain])


@pytest.mark.parametrize("way", NEARLY)
def test_what_is_nearly_the_mistake_is_not_found(way):
    plain = ["IHS028"] if BASES[way] is PLAIN_SIDECAR else []
    assert found(nearly(way)) == plain


@pytest.mark.parametrize("way", SPOIL)
def test_the_corrected_part_is_yaml_and_what_is_put_into_its_place_is_right(way):
    text = str(spoilt(BASES[way], way))
    report = examine([("manifest.yaml", text.encode())])
    (finding,) = [f for f in report.findings if f.mistake.identifier == way][:1]
    corrected = finding.corrected()
    if not finding.found.edits:
        assert corrected == ""
        return
    documents, _ = parsed(corrected_text(text, way))
    assert way not in found(written(documents))
    assert corrected.endswith("\n")


def corrected_text(text: str, way: str) -> str:
    """The text once every edit for a mistake was made."""
    report = examine([("manifest.yaml", text.encode())])
    documents = {id(f.found.document): f.found.document for f in report.findings}
    for finding in report.findings:
        if finding.mistake.identifier == way:
            for path, value in finding.found.edits:
                edit(finding.found.document.data, path, value)
    others, _ = parsed(text)
    changed = {(d.kind, d.name): d for d in documents.values()}
    return written([changed.get((d.kind, d.name), d) for d in others])


def test_comments_and_order_stay_in_the_corrected_part():
    report = examine([("manifest.yaml", str(spoilt(CAREFUL, "IHS007")).encode())])
    (finding,) = report.findings
    lines = [line.split() for line in finding.corrected().splitlines()]
    assert lines[0] == ["livenessProbe:", "#", "by", "the", "sidecar"]
    assert [
        "timeoutSeconds:",
        "2",
        "#",
        "enough,",
        "for",
        "it",
        "answers",
        "from",
        "memory",
    ] in lines
    assert lines[-2:] == [["failureThreshold:", "6"], ["terminationGracePeriodSeconds:", "15"]]


def test_every_mistake_says_why_it_hurts_and_what_to_do_instead():
    for mistake, _ in RULES.values():
        assert mistake.severity in Severity
        for text in (mistake.title, mistake.why, mistake.instead):
            assert text[0].isupper()
        assert mistake.why.endswith(".")
        assert mistake.instead.endswith(".")
