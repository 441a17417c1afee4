"""One way to make each mistake in a pod that has none: by the identifier of what is then found."""

from collections.abc import Callable, Iterable
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from sidecar.doctor import servers
from sidecar.doctor.documents import Document, read
from sidecar.doctor.examination import examine
from sidecar.doctor.findings import Case
from sidecar.doctor.nodes import at
from sidecar.doctor.pods import RUNTIMES, Pod, pods
from sidecar.doctor.rules.sidecar_settings import served_models
from sidecar.doctor.rules.termination import exit_seconds

# False where the pod cannot have the mistake.
Spoil = Callable[[Pod], Any]


def parsed(text: str) -> tuple[list[Document], list[Pod]]:
    """The documents of a text, and their pods with an inference server."""
    documents = [one for one in read("manifest.yaml", text.encode()) if isinstance(one, Document)]
    return documents, [pod for pod in pods(documents) if pod.server]


def written(documents: Iterable[Document]) -> str:
    """The text of documents."""
    yaml, stream = YAML(typ="rt", pure=True), StringIO()
    yaml.dump_all([document.data for document in documents], stream)
    return stream.getvalue()


def found(text: str, ignore: Iterable[str] = ()) -> list[str]:
    """The identifiers of what is found in a text."""
    report = examine([("manifest.yaml", text.encode())], frozenset(ignore))
    assert [problem for problem in report.problems if problem.is_error] == []
    return sorted({finding.mistake.identifier for finding in report.findings})


def server(pod: Pod) -> Any:
    """The server's container, to be changed."""
    assert pod.server
    return pod.server.raw


def sidecar(pod: Pod) -> Any:
    """The sidecar's container, to be changed."""
    assert pod.sidecar
    return pod.sidecar.raw


def spec(pod: Pod) -> Any:
    """The fields around the containers, to be changed."""
    return pod.spec


def http(path: str, port: int, **numbers: int) -> dict[str, Any]:
    """A probe by HTTP."""
    return {"httpGet": {"path": path, "port": port}, **numbers}


def variable(container: Any, name: str, value: str) -> bool:
    """Sets a variable of a container."""
    kept = [entry for entry in container.get("env", []) if entry["name"] != name]
    container["env"] = [*kept, {"name": name, "value": value}]
    return True


def is_plain(pod: Pod) -> bool:
    """Whether the sidecar is a plain container."""
    return bool(pod.sidecar and not pod.sidecar.is_init)


def runs(pod: Pod, wanted: servers.Server) -> bool:
    """Whether the server is this one."""
    return bool(pod.server and pod.server.server is wanted)


def ends_in(pod: Pod, grace: float) -> bool:
    """Gives the pod so long to end."""
    if is_plain(pod) or pod.outer is None:
        return False
    spec(pod)["terminationGracePeriodSeconds"] = int(grace)
    return True


def strategy(pod: Pod, value: dict[str, Any]) -> bool:
    """Gives a workload of several replicas another strategy."""
    document = pod.outer[0] if pod.outer else pod.document
    if pod.replicas < 2 or document.kind not in ("Deployment", "InferenceService"):
        return False
    if document.kind == "Deployment":
        at(document.data, "spec")["strategy"] = value
    else:
        at(document.data, "spec", "predictor")["deploymentStrategy"] = value
    return True


def budget(pod: Pod, value: dict[str, Any] | None) -> bool:
    """Gives the PodDisruptionBudget another limit, or lets it hold for others."""
    found = pod.budgets()
    for document in found:
        body = at(document.data, "spec")
        if value is None:
            body["selector"] = {"matchLabels": {"app": "another"}}
        else:
            for field in ("minAvailable", "maxUnavailable"):
                body.pop(field, None)
            body.update(value)
    return bool(found)


def probe_of_the_server(pod: Pod) -> dict[str, Any]:
    """A probe that the server itself answers."""
    assert pod.server
    known = pod.server.server
    port = pod.server.port_of(known.http) if known else 8000
    return http(
        "/v2/health/live", port or 8000, periodSeconds=10, timeoutSeconds=5, failureThreshold=6
    )


def without_readiness(pod: Pod) -> bool:
    """IHS001: takes the sidecar away, and asks the server itself for liveness."""
    if pod.document.kind not in ("Pod", "Deployment"):
        return False
    body = spec(pod)
    for key in ("initContainers", "containers"):
        body[key] = [c for c in body.get(key, []) if c is not sidecar(pod)]
    if not runs(pod, servers.TRITON):
        return False
    server(pod)["startupProbe"] = {
        **probe_of_the_server(pod),
        "failureThreshold": 180,
    }
    server(pod)["livenessProbe"] = probe_of_the_server(pod)
    return True


def grpc_probe(pod: Pod) -> bool:
    """IHS013."""
    assert pod.server
    known = pod.server.server
    if not known or known.has_grpc_health or not known.grpc:
        return False
    port = pod.server.port_of(known.grpc)
    server(pod)["startupProbe"] = {
        "grpc": {"port": port},
        "periodSeconds": 10,
        "failureThreshold": 180,
    }
    return True


def to_a_plain_one(pod: Pod) -> bool:
    """IHS028."""
    if is_plain(pod) or pod.document.kind in RUNTIMES:
        return False
    one, body = sidecar(pod), spec(pod)
    body["initContainers"] = [c for c in body["initContainers"] if c is not one]
    one.pop("restartPolicy")
    variable(one, "SIDECAR_DRAIN_SECONDS", "22")
    body.setdefault("containers", []).append(one)
    return True


def server_first(pod: Pod) -> bool:
    """IHS030."""
    if is_plain(pod) or pod.document.kind == "InferenceService":
        return False
    one, body = server(pod), spec(pod)
    if not (pod.server and pod.server.server):
        return False
    one["restartPolicy"] = "Always"
    body["initContainers"] = [one, *body["initContainers"]]
    body["containers"] = [{"name": "other", "image": "other"}]
    return True


def other_models(pod: Pod) -> bool:
    """IHS032."""
    assert pod.server
    case = Case(pod, pod.server, pod.sidecar, None)
    variable(sidecar(pod), "SIDECAR_MODELS", "absent")
    return bool(served_models(case)) and pod.document.kind not in RUNTIMES


def other_port(pod: Pod) -> bool:
    """IHS037."""
    if not (pod.server and pod.server.server):
        return False
    variable(sidecar(pod), "SIDECAR_SERVER_URL", "localhost:9999")
    return True


def flag(pod: Pod, wanted: servers.Server, change: Callable[[list[str]], list[str]]) -> bool:
    """Changes the flags of a server."""
    if not runs(pod, wanted) or "args" not in server(pod):
        return False
    server(pod)["args"] = change(list(server(pod)["args"]))
    return True


def without(flags: list[str], *names: str) -> list[str]:
    """Flags but for these."""
    return [f for f in flags if f.partition("=")[0] not in names]


def poll(pod: Pod) -> bool:
    """IHS042."""
    server(pod)["readinessProbe"] = http("/v2/health/ready", 8000, periodSeconds=5)
    changed = ["--model-control-mode=poll"]
    return flag(
        pod,
        servers.TRITON,
        lambda flags: [*without(flags, "--model-control-mode", "--load-model"), *changed],
    )


def pre_stop_as_long_as_the_grace(pod: Pod) -> bool:
    """IHS022."""
    if is_plain(pod) or pod.outer is None:
        return False
    seconds = int(pod.grace)
    server(pod)["lifecycle"] = {"preStop": {"sleep": {"seconds": seconds}}}
    server(pod)["livenessProbe"]["terminationGracePeriodSeconds"] = seconds + 5
    return True


def little_time(pod: Pod) -> bool:
    """IHS023."""
    assert pod.server
    sleep, ends = pod.server.pre_stop or 0, exit_seconds(pod.server)
    return ends > 1 and ends < sleep + ends - 1 and ends_in(pod, sleep + ends - 1)


def not_the_sidecar(pod: Pod) -> None:
    """IHS020."""
    server(pod)["livenessProbe"] = {
        **probe_of_the_server(pod),
        "terminationGracePeriodSeconds": 25,
    }


SPOIL: dict[str, Spoil] = {
    "IHS001": without_readiness,
    "IHS002": lambda p: server(p)["livenessProbe"]["httpGet"].update(path="/readyz"),
    "IHS003": lambda p: server(p).pop("startupProbe") and None,
    "IHS004": lambda p: server(p)["livenessProbe"].update(initialDelaySeconds=3600),
    "IHS005": lambda p: sidecar(p)["readinessProbe"].update(initialDelaySeconds=60),
    "IHS006": lambda p: server(p)["livenessProbe"].pop("timeoutSeconds") and None,
    "IHS007": lambda p: server(p)["livenessProbe"].update(failureThreshold=1),
    "IHS008": lambda p: server(p)["livenessProbe"].update(periodSeconds=3, failureThreshold=3),
    "IHS009": lambda p: server(p)["livenessProbe"].update(successThreshold=2),
    "IHS010": lambda p: server(p)["livenessProbe"]["httpGet"].update(port="health"),
    "IHS011": lambda p: server(p)["livenessProbe"]["httpGet"].update(port=9809),
    "IHS012": lambda p: sidecar(p)["livenessProbe"]["httpGet"].update(path="/alive"),
    "IHS013": grpc_probe,
    "IHS014": lambda p: server(p).update(
        readinessProbe={"exec": {"command": ["python3", "-c", "..."]}, "periodSeconds": 1}
    ),
    "IHS015": lambda p: server(p).update(readinessProbe={"tcpSocket": {"port": 8001}}),
    "IHS016": lambda p: sidecar(p)["livenessProbe"]["httpGet"].update(path="/healthz"),
    "IHS017": lambda p: sidecar(p)["startupProbe"]["httpGet"].update(path="/startupz"),
    "IHS018": lambda p: sidecar(p)["readinessProbe"].update(failureThreshold=3),
    "IHS019": lambda p: sidecar(p).pop("readinessProbe") and None,
    "IHS020": not_the_sidecar,
    "IHS021": lambda p: sidecar(p)["readinessProbe"].update(periodSeconds=60),
    "IHS022": pre_stop_as_long_as_the_grace,
    "IHS023": little_time,
    "IHS024": lambda p: server(p).pop("lifecycle") and None,
    "IHS025": lambda p: server(p)["livenessProbe"].update(terminationGracePeriodSeconds=10),
    "IHS026": lambda p: is_plain(p) and variable(sidecar(p), "SIDECAR_DRAIN_SECONDS", "90"),
    "IHS027": lambda p: is_plain(p) and variable(sidecar(p), "SIDECAR_DRAIN_SECONDS", "5"),
    "IHS028": to_a_plain_one,
    "IHS029": lambda p: not is_plain(p) and sidecar(p).pop("restartPolicy") and None,
    "IHS030": server_first,
    "IHS031": lambda p: sidecar(p)["resources"]["limits"].update(cpu="50m"),
    "IHS032": other_models,
    "IHS033": lambda p: variable(server(p), "HF_TOKEN", "hf_abcdefghij"),
    "IHS034": lambda p: spec(p).update(enableServiceLinks=True),
    "IHS035": lambda p: sidecar(p)["securityContext"].update(runAsUser=0),
    "IHS036": lambda p: sidecar(p)["securityContext"].pop("readOnlyRootFilesystem") and None,
    "IHS037": other_port,
    "IHS038": lambda p: variable(sidecar(p), "SIDECAR_PERIOD_SECONDS", "0"),
    "IHS039": lambda p: variable(sidecar(p), "SIDECAR_CANARY", "off"),
    "IHS040": lambda p: flag(
        p, servers.TRITON, lambda f: [*without(f, "--exit-timeout-secs"), "--exit-timeout-secs=300"]
    ),
    "IHS041": lambda p: flag(p, servers.TRITON, lambda f: [*f, "--strict-readiness=false"]),
    "IHS042": poll,
    "IHS043": lambda p: (
        runs(p, servers.MLSERVER) and variable(server(p), "MLSERVER_PARALLEL_WORKERS", "0")
    ),
    "IHS044": lambda p: (
        runs(p, servers.TORCHSERVE) and variable(server(p), "TS_OPEN_INFERENCE_PROTOCOL", "true")
    ),
    "IHS045": lambda p: flag(
        p,
        servers.TRITON,
        lambda f: [*without(f, "--exit-on-error"), "--load-model=m", "--load-model=n"],
    ),
    "IHS046": lambda p: budget(p, None),
    "IHS047": lambda p: budget(p, {"maxUnavailable": "100%"}),
    "IHS048": lambda p: strategy(p, {"rollingUpdate": {"maxUnavailable": "100%"}}),
    "IHS049": lambda p: strategy(p, {"type": "Recreate"}),
}


def spoilt(text: str, way: str, which: int = 0) -> str | None:
    """The text with one mistake in one of its pods; None where that pod cannot have it."""
    documents, found = parsed(text)
    if SPOIL[way](found[which]) is False:
        return None
    return written(documents)
