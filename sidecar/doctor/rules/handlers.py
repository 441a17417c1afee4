"""Mistakes in the handler of a probe: its port, path or kind; IHS010 to IHS014."""

import re
from collections.abc import Iterator

from sidecar.doctor.containers import SIDECAR_PATHS, SIDECAR_PORT, Container, Probe
from sidecar.doctor.findings import (
    ERROR,
    WARNING,
    Case,
    Edit,
    Found,
    Removed,
    in_container,
    rule,
)
from sidecar.doctor.rules.questions import question

INTERPRETERS = re.compile(r"python[\d.]*|node|java|ruby|perl|php|sidecar")
SHELLS = re.compile(r"(ba|da|a|z)?sh")
PREFIXES = re.compile(r"exec|env|nice|timeout|\w+=.*|-.*|[\d.]+s?")


@rule(
    "IHS010",
    ERROR,
    "A probe names a port that its container does not declare",
    why="The kubelet looks for the name in the ports of the container that has the probe, and nowhere else. The probe always fails.",
    instead="Use the number of the port.",
)
def unknown_port_name(case: Case) -> Iterator[Found]:
    """A probe whose port is a name that its container does not declare."""
    for container in filter(None, (case.server, case.sidecar)):
        for probe in container.probes:
            if (
                isinstance(probe.port, str)
                and probe.port
                and container.number_of(probe.port) is None
            ):
                number = SIDECAR_PORT if probe.asks_sidecar else None
                if number is None and container.server:
                    number = container.port_of(container.server.http)
                edits = [((probe.kind, probe.handler, "port"), number)] if number else []
                message = (
                    f"port {probe.port!r} is not among the ports of container {container.name}"
                )
                yield in_container(container, message, *edits, place=(probe.kind,))


def _wrong_port(probe: Probe, case: Case) -> tuple[int, int] | None:
    """Return the port of a server's probe, and the port that it should have."""
    server = case.server
    number = server.number_of(probe.port)
    if number is None:
        return None
    right: int | None = None
    if case.sidecar and probe.asks_sidecar:
        settings = case.settings
        if settings:
            right = settings.http_port if probe.handler == "httpGet" else settings.grpc_port
    elif server.server and probe.handler == "httpGet" and not server.format:
        right = server.port_of(server.server.http)
        if number in server.server.others and probe.http_path == "/metrics":
            return None
    elif server.server and probe.handler == "grpc" and server.server.grpc:
        right = server.port_of(server.server.grpc)
        if case.settings and case.settings.grpc_port == number:
            return None
    return (number, right) if right is not None and number != right else None


@rule(
    "IHS011",
    ERROR,
    "A probe asks a port that does not answer it",
    why="The probe always fails: the port is that of gRPC, of the metrics or of nothing, or it is not the sidecar's.",
    instead="Ask the HTTP port of the server, or http_port of the sidecar (9808).",
)
def wrong_port(case: Case) -> Iterator[Found]:
    """A probe of the server on a port that does not answer it."""
    for probe in case.server.probes:
        if wrong := _wrong_port(probe, case):
            number, right = wrong
            message = f"port {number} does not answer a probe by {probe.handler}; port {right} does"
            edit: Edit = ((probe.kind, probe.handler, "port"), right)
            yield in_container(case.server, message, edit, place=(probe.kind,))


@rule(
    "IHS012",
    ERROR,
    "A probe asks a path that is not served",
    why="The answer is 404, so that the probe always fails: the container is restarted or never becomes ready.",
    instead="Ask a path that the server has (docs of the server), or an endpoint of the sidecar.",
)
def wrong_path(case: Case) -> Iterator[Found]:
    """A probe of the server or the sidecar whose path is answered by 404."""
    server = case.server
    known = server.server
    for probe in server.probes:
        if probe.handler != "httpGet" or not known or (case.sidecar and probe.asks_sidecar):
            continue
        if case.settings and server.number_of(probe.port) == case.settings.http_port:
            yield _not_served(server, probe, "the sidecar", "/healthz")
        elif not re.fullmatch(known.paths, probe.http_path):
            path = known.live_path if probe.kind == "livenessProbe" else known.ready_path
            yield _not_served(server, probe, known.name, path)
    for probe in case.sidecar.probes if case.sidecar else ():
        if probe.handler == "httpGet" and not probe.http_path.startswith(SIDECAR_PATHS):
            path = "/readyz" if probe.kind == "readinessProbe" else "/livez"
            assert case.sidecar
            yield _not_served(case.sidecar, probe, "the sidecar", path)


def _not_served(container: Container, probe: Probe, who: str, path: str) -> Found:
    message = f"{who} does not answer {probe.http_path}"
    edit: Edit = ((probe.kind, "httpGet", "path"), path)
    return in_container(container, message, edit, place=(probe.kind,))


@rule(
    "IHS013",
    ERROR,
    "A gRPC probe on a server without grpc.health.v1",
    why="The kubelet's gRPC probe speaks grpc.health.v1. Of the servers that speak the Open Inference Protocol only Triton"
    " has it, and Triton answers SERVING for every name.",
    instead="Ask the sidecar: httpGet /healthz and /readyz on port 9808, or its own grpc_port.",
)
def grpc_probe(case: Case) -> Iterator[Found]:
    """A gRPC probe of a server without grpc.health.v1."""
    server = case.server
    for probe in server.probes:
        if probe.handler != "grpc" or not server.server or server.server.has_grpc_health:
            continue
        if case.settings and case.settings.grpc_port == server.number_of(probe.port):
            continue
        message = (
            f"{server.server.name} does not implement grpc.health.v1, so the probe always fails"
        )
        edits: list[Edit] = [((probe.kind, "grpc"), Removed)]
        edits.append(((probe.kind, "httpGet"), question(case, probe.kind)))
        yield in_container(server, message, *edits, place=(probe.kind,))


def _programs(words: list[str]) -> Iterator[str]:
    """Return the names of the programs that a command starts, also in a shell script."""
    commands = [words]
    if words and SHELLS.fullmatch(words[0].rpartition("/")[2]) and "-c" in words:
        script = " ".join(words[words.index("-c") + 1 :])
        commands = [command.split() for command in re.split(r"[;|&\n]+", script)]
    for command in commands:
        first = next((word for word in command if not PREFIXES.fullmatch(word)), "")
        yield first.rpartition("/")[2]


@rule(
    "IHS014",
    WARNING,
    "An exec probe starts an interpreter",
    why="Each run costs a start of the interpreter in the container of the server: tenths of a second of CPU, and timeouts"
    " when the server is busy. The timeout ends the probe; the process may go on.",
    instead="Use httpGet. The sidecar asks the server over a connection that it keeps, and answers from memory.",
)
def interpreter(case: Case) -> Iterator[Found]:
    """An exec probe of the server whose command is an interpreter."""
    for probe in case.server.probes:
        program = next(filter(INTERPRETERS.fullmatch, _programs(probe.words)), "")
        if program:
            message = f"each {probe.period:g} s a process of {program} is started"
            edits: list[Edit] = [((probe.kind, "exec"), Removed)]
            edits.append(((probe.kind, "httpGet"), question(case, probe.kind)))
            yield in_container(case.server, message, *edits, place=(probe.kind,))
