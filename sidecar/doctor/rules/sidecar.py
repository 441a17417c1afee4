"""Mistakes with our sidecar: IHS028 to IHS039."""

import re
from collections.abc import Iterator

from sidecar.doctor.documents import at, text
from sidecar.doctor.findings import (
    ERROR,
    WARNING,
    Case,
    Edit,
    Found,
    Removed,
    in_container,
    in_pod,
    rule,
)
from sidecar.doctor.pods import RUNTIMES, Container
from sidecar.doctor.servers import KSERVE

MIB = 1024**2
LEAST_MEMORY, LEAST_CPU = 96 * MIB, 0.1
UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 1024, "Mi": MIB, "Gi": 1024**3}
SECRET = re.compile(r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY|CREDENTIALS)$")


def quantity(value: object) -> float | None:
    """A quantity of Kubernetes; None for what is none."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?)([a-zA-Z]*)", str(value))
    return float(match[1]) * UNITS[match[2]] if match and match[2] in UNITS else None


@rule(
    "IHS028",
    WARNING,
    "The sidecar is a plain container",
    why="A plain sidecar starts beside the server and gets SIGTERM together with it. A native one starts before it and ends after it.",
    instead="From Kubernetes 1.29 on make it the first of `initContainers`, with restartPolicy: Always and drain_seconds: 0.",
)
def not_native(case: Case) -> Iterator[Found]:
    """A sidecar among the containers, where it could be a native one."""
    if case.sidecar and not case.sidecar.is_init and case.pod.document.kind not in RUNTIMES:
        message = "it is among `containers`; as an init container with restartPolicy: Always it would outlive the server"
        yield in_container(case.sidecar, message)


@rule(
    "IHS029",
    ERROR,
    "The sidecar is an init container that has to end",
    why="Kubernetes waits for an init container without restartPolicy: Always to end. The sidecar does not end, so the server never starts.",
    instead="Add restartPolicy: Always.",
)
def waits_for_ever(case: Case) -> Iterator[Found]:
    """A sidecar among the init containers without restartPolicy: Always."""
    if case.sidecar and case.sidecar.is_init and not case.sidecar.is_native_sidecar:
        message = "without restartPolicy: Always the pod waits for it to end, which it does not"
        yield in_container(case.sidecar, message, (("restartPolicy",), "Always"))


@rule(
    "IHS030",
    WARNING,
    "The sidecar starts after the server",
    why="Nobody answers the probes of the server until the sidecar runs. At the end the sidecar is stopped first.",
    instead="Put the sidecar before the server among `initContainers`.",
)
def after_the_server(case: Case) -> Iterator[Found]:
    """A native sidecar that stands behind a server that is one, too."""
    sidecar, server = case.sidecar, case.server
    if sidecar and sidecar.is_native_sidecar and server.is_native_sidecar:
        places = [int(path[-1]) for path in (sidecar.path, server.path)]
        if places[0] > places[1]:
            yield in_container(
                sidecar, f"it starts after container {server.name}, which it is asked about"
            )


@rule(
    "IHS031",
    WARNING,
    "The limits of the sidecar are too low",
    why="A start takes 0.4 CPU seconds: 20 seconds at a limit of 20m, in which a crashed sidecar may cost a healthy server a restart."
    " It needs 70 MiB of memory, more with many models.",
    instead="Set no CPU limit, or 100m and more, and 128Mi of memory.",
)
def low_limits(case: Case) -> Iterator[Found]:
    """A sidecar with too small limits of CPU or memory."""
    if not case.sidecar:
        return
    place = ("resources", "limits")
    limits = {kind: at(case.sidecar.raw, *place, kind) for kind in ("cpu", "memory")}
    cpu, memory = quantity(limits["cpu"]), quantity(limits["memory"])
    if cpu and cpu < LEAST_CPU:
        message = f"the CPU limit is {limits['cpu']}, below 100m"
        yield in_container(
            case.sidecar, message, ((*place, "cpu"), Removed), place=place, shown=("resources",)
        )
    if memory and memory < LEAST_MEMORY:
        message = f"the memory limit is {limits['memory']}, below 96Mi"
        edit: Edit = ((*place, "memory"), "128Mi")
        yield in_container(case.sidecar, message, edit, place=place, shown=("resources",))


def served_models(case: Case) -> list[str]:
    """The models that the server is told to serve; none where that cannot be known."""
    server = case.server
    if server.format and case.pod.document.kind == "InferenceService":
        return [case.pod.document.name]
    if not server.server:
        return []
    names = [value for flag in server.server.model_flags for value in server.flags(flag)]
    names += [server.variables.get(v) or "" for v in server.server.model_variables]
    names = [name for name in names if name]
    return [] if any("{{" in name or "$(" in name or "*" in name for name in names) else names


@rule(
    "IHS032",
    ERROR,
    "The sidecar asks for models that the server does not have",
    why="Such a model is `model_not_found` or never ready, and the pod gets no traffic.",
    instead="Name the models as the server's arguments do.",
)
def other_models(case: Case) -> Iterator[Found]:
    """Configured models that are not among those of the server's command line."""
    served = served_models(case)
    if (
        case.sidecar
        and case.settings
        and served
        and case.read
        and "models" not in case.read.unknown
    ):
        missing = [model.name for model in case.settings.models if model.name not in served]
        if missing:
            message = f"models has {', '.join(missing)}, and the server is told to serve {', '.join(served)}"
            yield in_container(case.sidecar, message, place=("env",))


@rule(
    "IHS033",
    ERROR,
    "A secret is in plain text",
    why="Whoever may read the manifest, the pod or the repository has it.",
    instead="Use a Secret: valueFrom.secretKeyRef, or for the sidecar bearer_token_file.",
)
def plain_secret(case: Case) -> Iterator[Found]:
    """A variable whose name says that it is a secret, with its value in the manifest."""
    for container in filter(None, (case.server, case.sidecar)):
        for place, (name, value) in enumerate(container.variables.items()):
            secret = SECRET.search(name) and value and not value.isdigit() and "$(" not in value
            header = name == "SIDECAR_HEADERS" and value and "authorization" in value
            if secret or header:
                key = {"name": "inference-server", "key": name.lower().replace("_", "-")}
                where = ("env", place)
                edits: list[Edit] = [((*where, "value"), Removed)]
                edits.append(((*where, "valueFrom"), {"secretKeyRef": key}))
                yield in_container(
                    container, f"the value of {name} is in the manifest", *edits, place=where
                )


@rule(
    "IHS034",
    WARNING,
    "The pod gets the variables of other Services",
    why="Kubernetes sets variables for every Service of the namespace. Those of a Service whose name begins with `sidecar` look like settings.",
    instead="Set enableServiceLinks: false.",
)
def service_links(case: Case) -> Iterator[Found]:
    """A pod with our sidecar in which enableServiceLinks is not false."""
    if case.sidecar and case.pod.spec.get("enableServiceLinks") is not False:
        message = "enableServiceLinks is not false"
        yield from in_pod(case.pod, message, (("enableServiceLinks",), False))


def _security(case: Case, container: Container, field: str) -> object:
    own = at(container.raw, "securityContext", field)
    return own if own is not None else at(case.pod.spec, "securityContext", field)


@rule(
    "IHS035",
    WARNING,
    "The sidecar may run as root",
    why="It needs no right of root, and a namespace with the Pod Security Standard `restricted` refuses the pod.",
    instead="Set runAsNonRoot: true in its securityContext; the image's user is 65532.",
)
def as_root(case: Case) -> Iterator[Found]:
    """A sidecar that is not kept from running as root."""
    if case.sidecar and (
        _security(case, case.sidecar, "runAsNonRoot") is not True
        or _security(case, case.sidecar, "runAsUser") == 0
    ):
        edits: list[Edit] = [(("securityContext", "runAsNonRoot"), True)]
        edits.append((("securityContext", "runAsUser"), 65532))
        message = (
            "runAsNonRoot is not true"
            if _security(case, case.sidecar, "runAsUser")
            else "it may run as root"
        )
        yield in_container(case.sidecar, message, *edits, shown=("securityContext",))


@rule(
    "IHS036",
    WARNING,
    "The sidecar's file system can be written",
    why="It writes nothing, so that whoever breaks in should not either.",
    instead="Set readOnlyRootFilesystem: true in its securityContext.",
)
def writable(case: Case) -> Iterator[Found]:
    """A sidecar whose root file system is not read-only."""
    if (
        case.sidecar
        and at(case.sidecar.raw, "securityContext", "readOnlyRootFilesystem") is not True
    ):
        edit: Edit = (("securityContext", "readOnlyRootFilesystem"), True)
        yield in_container(
            case.sidecar, "readOnlyRootFilesystem is not true", edit, shown=("securityContext",)
        )


@rule(
    "IHS037",
    ERROR,
    "The sidecar asks another port than the server's gRPC port",
    why="Every check is `unreachable` or `unimplemented`; the pod never becomes ready.",
    instead="Set server_url to the port on which the server speaks gRPC.",
)
def wrong_server_url(case: Case) -> Iterator[Found]:
    """A server_url whose port is not the gRPC port of the server."""
    server = case.server
    known = server.server
    if not (case.sidecar and case.settings and known and known.grpc):
        return
    if server.format and known is not KSERVE:  # KServe's runtimes of others have ports of their own
        return
    if known.grpc.flag == "--port" and not server.flags("--port"):
        return
    url, right = case.settings.server_url, server.port_of(known.grpc)
    port = re.search(r":(\d+)/?$", url)
    if port and right and int(port[1]) != right:
        message = f"server_url is {url}, and {known.name} speaks gRPC on port {right}"
        yield in_container(case.sidecar, message, place=("env",))


@rule(
    "IHS038",
    ERROR,
    "The sidecar's settings are not valid",
    why="The sidecar ends with code 2 at once, again and again, and nobody answers the probes of the server.",
    instead="Correct them. `sidecar config` checks a settings file on your machine.",
)
def bad_settings(case: Case) -> Iterator[Found]:
    """Settings that the sidecar refuses."""
    for wrong in case.read.wrong if case.sidecar and case.read else ():
        assert case.sidecar
        yield in_container(case.sidecar, wrong, place=("env",))


@rule(
    "IHS039",
    WARNING,
    "No inference proves the models",
    why="A server reports a model as ready whose worker is dead or hangs: on five servers that was so in 56 of 277 measured situations.",
    instead="Set canary: auto.",
)
def no_canary(case: Case) -> Iterator[Found]:
    """A sidecar without canaries for the models that are required."""
    settings = case.settings
    if not (case.sidecar and settings) or settings.canary == "auto" or settings.canary_dir:
        return
    known = case.read.unknown if case.read else frozenset()
    required = [model for model in settings.models if model.required]
    if known & {"canary", "canary_dir"} or (
        required and all(model.canary is not None for model in required)
    ):
        return
    name = text(case.sidecar.raw, "name")
    yield in_container(
        case.sidecar,
        f"canary is off: {name} takes the server's word for it that a model works",
        place=("env",),
    )
