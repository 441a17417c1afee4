"""Mistakes in how a pod ends: IHS022 to IHS027."""

from collections.abc import Iterator
from dataclasses import replace

from sidecar.doctor.containers import Container
from sidecar.doctor.findings import ERROR, WARNING, Case, Edit, Found, in_container, in_pod, rule

SPARE_SECONDS = 5
PRE_STOP_SECONDS = 10
UNKNOWN_EXIT_SECONDS = 5


def exit_seconds(server: Container) -> float:
    """Return how many seconds the server completes requests in flight after SIGTERM."""
    given = server.flags("--exit-timeout-secs")
    if given and given[-1].isdigit():
        return float(given[-1])
    return server.server.exit_seconds if server.server else UNKNOWN_EXIT_SECONDS


@rule(
    "IHS022",
    ERROR,
    "The preStop sleeps for as long as the pod has to end",
    why="The grace period includes the preStop. At its end the server is killed without a SIGTERM, and every request in flight is lost.",
    instead="Make terminationGracePeriodSeconds longer than the preStop and what the server needs to end.",
)
def sleeps_too_long(case: Case) -> Iterator[Found]:
    """A preStop that is not shorter than the grace period."""
    sleep = case.server.pre_stop or 0
    if case.pod.outer and sleep >= case.pod.grace:
        needed = int(sleep + exit_seconds(case.server) + SPARE_SECONDS)
        message = f"the preStop sleeps for {sleep:g} s, and terminationGracePeriodSeconds is {case.pod.grace:g}"
        yield from in_pod(case.pod, message, (("terminationGracePeriodSeconds",), needed))


@rule(
    "IHS023",
    WARNING,
    "The pod has too little time to end",
    why="After the preStop the server gets SIGTERM and completes its requests in flight. Those that are not complete at the end of the grace period are lost.",
    instead="Make terminationGracePeriodSeconds at least the preStop plus the longest inference, or the server's own exit timeout.",
)
def short_grace(case: Case) -> Iterator[Found]:
    """A grace period that is shorter than the preStop and the server's shutdown."""
    sleep, ends = case.server.pre_stop or 0, exit_seconds(case.server)
    grace = case.pod.grace
    if case.pod.outer and sleep < grace < sleep + ends and ends <= grace:
        message = f"terminationGracePeriodSeconds is {grace:g}: {sleep:g} s of preStop leave {grace - sleep:g} s, and the server takes up to {ends:g} s to end"
        needed = int(sleep + ends + SPARE_SECONDS)
        yield from in_pod(case.pod, message, (("terminationGracePeriodSeconds",), needed))


@rule(
    "IHS024",
    WARNING,
    "There is no preStop",
    why="SIGTERM comes at the same time as the removal from the Service, which takes seconds to spread. A server that refuses new calls"
    " at SIGTERM loses 2 to 4 % of the requests of a rolling restart.",
    instead="Add a preStop that sleeps for 10 seconds (`sleep` from Kubernetes 1.30 on, before that `exec`).",
)
def no_pre_stop(case: Case) -> Iterator[Found]:
    """A server without a preStop."""
    lifecycle = case.server.raw.get("lifecycle")
    if not (isinstance(lifecycle, dict) and lifecycle.get("preStop")):
        message = "without a preStop each rolling restart loses requests"
        edit: Edit = (("lifecycle", "preStop"), {"sleep": {"seconds": PRE_STOP_SECONDS}})
        found = in_container(case.server, message, edit, shown=("lifecycle",))
        yield _with_time_to_end(case, found)


def _with_time_to_end(case: Case, found: Found) -> Found:
    """Return the occurrence, with a longer grace period if the pod's does not cover the preStop."""
    needed = int(PRE_STOP_SECONDS + exit_seconds(case.server) + SPARE_SECONDS)
    if case.pod.outer is None or needed <= case.pod.grace + SPARE_SECONDS:
        return found
    document, path = case.pod.outer
    if document is not found.document:
        return found
    place = (*path, "terminationGracePeriodSeconds")
    return replace(found, edits=(*found.edits, (place, needed)), also=(place,))


@rule(
    "IHS025",
    WARNING,
    "A restart by the livenessProbe cuts the preStop off",
    why="The preStop also runs at a restart by the probe, within the grace period of the probe.",
    instead="Make terminationGracePeriodSeconds of the livenessProbe 5 seconds longer than the preStop.",
)
def short_probe_grace(case: Case) -> Iterator[Found]:
    """A livenessProbe whose own grace period is not longer than the preStop."""
    probe = case.server.probe("livenessProbe")
    sleep = case.server.pre_stop
    grace = probe.raw.get("terminationGracePeriodSeconds") if probe else None
    if isinstance(grace, int) and sleep and grace <= sleep:
        message = f"the preStop sleeps for {sleep:g} s, and the livenessProbe has terminationGracePeriodSeconds: {grace}"
        edit: Edit = (
            ("livenessProbe", "terminationGracePeriodSeconds"),
            int(sleep) + SPARE_SECONDS,
        )
        yield in_container(case.server, message, edit, place=("livenessProbe",))


@rule(
    "IHS026",
    ERROR,
    "The sidecar drains for longer than the pod has to end",
    why="A plain sidecar that is still draining at the end of the grace period keeps the pod from ending, and is killed.",
    instead="Make drain_seconds shorter than terminationGracePeriodSeconds.",
)
def long_drain(case: Case) -> Iterator[Found]:
    """A plain sidecar whose drain is not shorter than the grace period."""
    if case.sidecar and case.settings and not case.sidecar.is_init and case.pod.outer:
        drain = case.settings.drain_seconds
        if drain >= case.pod.grace:
            message = f"drain_seconds is {drain:g}, and terminationGracePeriodSeconds is {case.pod.grace:g}"
            edit: Edit = (("terminationGracePeriodSeconds",), int(drain) + 2 * SPARE_SECONDS)
            yield from in_pod(case.pod, message, edit)


@rule(
    "IHS027",
    WARNING,
    "The sidecar ends before the server",
    why="A plain sidecar gets SIGTERM together with the server. When its drain is shorter than the server's preStop, nobody answers the"
    " probes of a server that still serves.",
    instead="Make drain_seconds 10 longer than the preStop, or let the sidecar be native.",
)
def short_drain(case: Case) -> Iterator[Found]:
    """A plain sidecar whose drain is shorter than the preStop of the server."""
    sleep = case.server.pre_stop or 0
    if case.sidecar and case.settings and not case.sidecar.is_init:
        drain = case.settings.drain_seconds
        if drain < sleep:
            message = f"drain_seconds is {drain:g}, and the server's preStop sleeps for {sleep:g} s"
            yield in_container(case.sidecar, message, place=("env",))
