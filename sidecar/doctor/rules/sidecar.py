"""Mistakes in the sidecar's container: IHS028 to IHS036."""

import re
from collections.abc import Iterator

from sidecar.doctor.containers import Container
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
from sidecar.doctor.nodes import at
from sidecar.doctor.pods import RUNTIMES

MIB = 1024**2
LEAST_MEMORY, LEAST_CPU = 96 * MIB, 0.1
UNITS = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 1024, "Mi": MIB, "Gi": 1024**3}


def quantity(value: object) -> float | None:
    """Return the value of a Kubernetes quantity; None if it is not one."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?)([a-zA-Z]*)", str(value))
    return float(match[1]) * UNITS[match[2]] if match and match[2] in UNITS else None


@rule(
    "IHS028",
    WARNING,
    "The sidecar is a plain container",
    why="A plain sidecar starts and gets SIGTERM at the same time as the server. A native sidecar starts before the server and ends after it.",
    instead="From Kubernetes 1.29 on make it the first of `initContainers`, with restartPolicy: Always and drain_seconds: 0.",
)
def not_native(case: Case) -> Iterator[Found]:
    """A sidecar among the containers that could be a native sidecar."""
    if case.sidecar and not case.sidecar.is_init and case.pod.document.kind not in RUNTIMES:
        message = "it is among `containers`; as an init container with restartPolicy: Always it would outlive the server"
        yield in_container(case.sidecar, message)


@rule(
    "IHS029",
    ERROR,
    "The sidecar is an init container that has to end",
    why="Kubernetes waits until an init container without restartPolicy: Always has ended. The sidecar does not end, so the server never starts.",
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
    why="The server's probes fail until the sidecar runs, and at termination the sidecar is stopped first.",
    instead="Put the sidecar before the server among `initContainers`.",
)
def after_the_server(case: Case) -> Iterator[Found]:
    """A native sidecar that is listed after a server that is one too."""
    sidecar, server = case.sidecar, case.server
    if sidecar and sidecar.is_native_sidecar and server.is_native_sidecar:
        places = [int(path[-1]) for path in (sidecar.path, server.path)]
        if places[0] > places[1]:
            yield in_container(
                sidecar, f"it starts after container {server.name}, whose probes it answers"
            )


@rule(
    "IHS031",
    WARNING,
    "The limits of the sidecar are too low",
    why="A start takes about 0.4 CPU seconds: 20 seconds at a limit of 20m, in which a crashed sidecar may cost a healthy server a restart."
    " It needs 70 MiB of memory, more with many models.",
    instead="Set no CPU limit, or 100m and more, and 128Mi of memory.",
)
def low_limits(case: Case) -> Iterator[Found]:
    """A sidecar whose CPU or memory limit is too low."""
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


@rule(
    "IHS034",
    WARNING,
    "The pod gets the variables of other Services",
    why="Kubernetes sets environment variables for every Service of the namespace. Those of a Service whose name begins with `sidecar` look like settings.",
    instead="Set enableServiceLinks: false.",
)
def service_links(case: Case) -> Iterator[Found]:
    """A pod with the sidecar in which enableServiceLinks is not false."""
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
    why="The sidecar does not need root, and a namespace with the Pod Security Standard `restricted` rejects the pod.",
    instead="Set runAsNonRoot: true in its securityContext; the image's user is 65532.",
)
def as_root(case: Case) -> Iterator[Found]:
    """A sidecar that may run as root."""
    if case.sidecar and (
        _security(case, case.sidecar, "runAsNonRoot") is not True
        or _security(case, case.sidecar, "runAsUser") == 0
    ):
        edits: list[Edit] = [(("securityContext", "runAsNonRoot"), True)]
        edits.append((("securityContext", "runAsUser"), 65532))
        message = "runAsNonRoot is not true, or runAsUser is 0"
        yield in_container(case.sidecar, message, *edits, shown=("securityContext",))


@rule(
    "IHS036",
    WARNING,
    "The sidecar's file system can be written",
    why="The sidecar writes no files. A read-only file system limits what an attacker can do.",
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
