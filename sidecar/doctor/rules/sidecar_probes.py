"""Mistakes in probes of the sidecar, and missing ones: IHS016 to IHS020."""

from collections.abc import Iterator

from sidecar.doctor.containers import SIDECAR_PORT
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


@rule(
    "IHS016",
    ERROR,
    "The sidecar's livenessProbe asks about the server",
    why="The kubelet restarts the container that has the probe: here the sidecar, which works. The server is never restarted.",
    instead="On the sidecar ask /livez. /healthz belongs to the livenessProbe of the server's container.",
)
def wrong_container(case: Case) -> Iterator[Found]:
    """A livenessProbe of the sidecar that checks the server."""
    probe = case.sidecar.probe("livenessProbe") if case.sidecar else None
    if case.sidecar and probe and probe.asks_sidecar not in ("", "/livez"):
        message = f"it asks {probe.asks_sidecar}, so that a broken server restarts the sidecar"
        edit: Edit = (("livenessProbe", "httpGet", "path"), "/livez")
        yield in_container(case.sidecar, message, edit, place=("livenessProbe",))


@rule(
    "IHS017",
    ERROR,
    "The sidecar's startupProbe waits for the server",
    why="A container after a native sidecar starts only when the sidecar's startupProbe has passed. One that waits for the"
    " server waits forever, and the pod never starts.",
    instead="On the sidecar ask /livez. /startupz belongs to the startupProbe of the server's container.",
)
def deadlock(case: Case) -> Iterator[Found]:
    """A startupProbe on the sidecar that waits for the server."""
    probe = case.sidecar.probe("startupProbe") if case.sidecar else None
    if case.sidecar and probe and probe.asks_sidecar not in ("", "/livez"):
        native = case.sidecar.is_native_sidecar
        message = f"it asks {probe.asks_sidecar}: " + (
            "the server starts only after it has passed, which is never"
            if native
            else "the sidecar is restarted while the server loads"
        )
        edit: Edit = (("startupProbe", "httpGet", "path"), "/livez")
        yield in_container(case.sidecar, message, edit, place=("startupProbe",))


@rule(
    "IHS018",
    WARNING,
    "The sidecar's readinessProbe needs several failures",
    why="The sidecar already applies thresholds. Another one in the kubelet only prolongs the traffic to a failed server.",
    instead="Set failureThreshold: 1 on the sidecar's readinessProbe; change readiness_failure_threshold if that is too sensitive.",
)
def twice_patient(case: Case) -> Iterator[Found]:
    """A readinessProbe of the sidecar with a failureThreshold above 1."""
    probe = case.sidecar.probe("readinessProbe") if case.sidecar else None
    if case.sidecar and probe and probe.asks_sidecar and probe.failures > 1:
        later = probe.period * (probe.failures - 1)
        message = f"failureThreshold {probe.failures} sends traffic for {later:g} s more to a server that has failed"
        edit: Edit = (("readinessProbe", "failureThreshold"), 1)
        yield in_container(case.sidecar, message, edit, place=("readinessProbe",))


@rule(
    "IHS019",
    ERROR,
    "No readinessProbe asks the sidecar",
    why="Nothing uses the sidecar's verdict: the pod gets traffic whatever /readyz says.",
    instead="Add a readinessProbe to the sidecar's container. It gates the whole pod.",
)
def ungated(case: Case) -> Iterator[Found]:
    """A pod with the sidecar in which no readinessProbe uses /readyz."""
    probes = (c.probe("readinessProbe") for c in (case.sidecar, case.server) if c)
    if case.sidecar and not any(probe and probe.asks_sidecar == "/readyz" for probe in probes):
        numbers = {"periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 1}
        edit: Edit = (("readinessProbe",), {"httpGet": question(case, "readinessProbe"), **numbers})
        message = "no readinessProbe of the pod asks /readyz"
        yield in_container(case.sidecar, message, edit, shown=("readinessProbe",))


@rule(
    "IHS020",
    WARNING,
    "The server's probes do not ask the sidecar that is there",
    why="A probe of the server itself restarts it when it is only busy, and its startup ends before its models are ready.",
    instead="Let the server's livenessProbe ask /healthz and its startupProbe /startupz, by the number of the sidecar's port.",
)
def not_asked(case: Case) -> Iterator[Found]:
    """A livenessProbe or startupProbe of the server that does not use the sidecar."""
    for kind, path in (("livenessProbe", "/healthz"), ("startupProbe", "/startupz")):
        probe = case.server.probe(kind)
        if case.sidecar and probe and probe.handler in ("httpGet", "tcpSocket"):
            port = case.settings.http_port if case.settings else SIDECAR_PORT
            if probe.asks_sidecar or case.server.number_of(probe.port) == port:
                continue
            edits: list[Edit] = [((kind, probe.handler), Removed)]
            edits.append(((kind, "httpGet"), question(case, kind)))
            yield in_container(
                case.server, f"it does not ask {path} of the sidecar", *edits, place=(kind,)
            )
