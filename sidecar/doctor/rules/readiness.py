"""Mistakes with the readinessProbe: IHS001, IHS005, IHS015 and IHS021."""

from collections.abc import Iterator

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

SLOW_READINESS = 30
LATE_READINESS = 30


@rule(
    "IHS001",
    ERROR,
    "The inference server has no readinessProbe",
    why="A container without a readinessProbe is ready as soon as it runs. The Service sends it requests while its"
    " models still load, and goes on when they fail.",
    instead="Add a readinessProbe. One on the sidecar that asks /readyz gates the whole pod, and proves every model.",
)
def no_readiness(case: Case) -> Iterator[Found]:
    """A server without a readinessProbe, in a pod without our sidecar."""
    server = case.server
    # KServe adds a probe to a model without one.
    if case.sidecar or server.format or server.probe("readinessProbe"):
        return
    numbers = {"periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3}
    probe = {"httpGet": question(case, "readinessProbe"), **numbers}
    edit: Edit = (("readinessProbe",), probe)
    message = "there is no readinessProbe, so traffic comes before the models are loaded"
    yield in_container(server, message, edit, shown=("readinessProbe",))


@rule(
    "IHS005",
    WARNING,
    "The readinessProbe waits before it asks",
    why="An initialDelaySeconds of a readinessProbe keeps a server that is ready out of the Service, at every start.",
    instead="Remove it. A readinessProbe that fails costs nothing; a startupProbe decides how long a load may take.",
)
def late_readiness(case: Case) -> Iterator[Found]:
    """A long initialDelaySeconds of a readinessProbe."""
    for container in filter(None, (case.server, case.sidecar)):
        probe = container.probe("readinessProbe")
        if probe and probe.delay >= LATE_READINESS:
            message = f"initialDelaySeconds: {probe.delay:g} keeps a server that is ready without traffic at each start"
            edit: Edit = (("readinessProbe", "initialDelaySeconds"), Removed)
            yield in_container(container, message, edit, place=("readinessProbe",))


@rule(
    "IHS015",
    WARNING,
    "Readiness is an open port",
    why="A server opens its port before its models are loaded, and keeps it open when they fail. An open port proves nothing"
    " about inference.",
    instead="Ask for readiness: /readyz of the sidecar, or the server's own readiness path.",
)
def open_port(case: Case) -> Iterator[Found]:
    """A readinessProbe of the server that only opens a connection."""
    probe = case.server.probe("readinessProbe")
    if probe and probe.handler == "tcpSocket":
        message = "tcpSocket proves that a port is open, not that a model works"
        edits: list[Edit] = [(("readinessProbe", "tcpSocket"), Removed)]
        edits.append((("readinessProbe", "httpGet"), question(case, "readinessProbe")))
        yield in_container(case.server, message, *edits, place=("readinessProbe",))


@rule(
    "IHS021",
    WARNING,
    "A server that has failed keeps its traffic for long",
    why="Requests go to it until the readinessProbe has failed often enough.",
    instead="Set periodSeconds and failureThreshold of the readinessProbe so that their product is 10 to 20 seconds.",
)
def slow_readiness(case: Case) -> Iterator[Found]:
    """A readinessProbe of the server that needs more than half a minute."""
    for container in filter(None, (case.server, case.sidecar)):
        probe = container.probe("readinessProbe")
        if probe and probe.period * probe.failures > SLOW_READINESS:
            seconds = probe.period * probe.failures
            message = f"a server that has failed gets traffic for up to {seconds:g} s"
            edits: list[Edit] = [(("readinessProbe", "periodSeconds"), 5)]
            if not probe.asks_sidecar:
                edits.append((("readinessProbe", "failureThreshold"), 3))
            yield in_container(container, message, *edits, place=("readinessProbe",))
