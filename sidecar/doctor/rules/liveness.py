"""Mistakes with livenessProbe and startupProbe of the server: IHS002 to IHS009."""

import re
from collections.abc import Iterator

from sidecar.doctor.containers import Container, Probe
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
from sidecar.doctor.nodes import plain
from sidecar.doctor.rules.questions import question

READY = re.compile(r"ready|readiness")
BUSY_SECONDS = 30  # a server may be slow for this long, and a sidecar may need it to restart
STARTUP = {"periodSeconds": 10, "timeoutSeconds": 2, "failureThreshold": 180}


def _asks_readiness(probe: Probe, server: Container) -> bool:
    if asked := probe.asks_sidecar:
        return asked in ("/readyz", "/startupz")
    if probe.handler == "httpGet":
        pattern = server.server.readiness if server.server else r"(?!)"
        ready = re.search(r"/ready(z|iness)?$", probe.http_path)
        return bool(ready or re.fullmatch(pattern, probe.http_path))
    return probe.handler == "exec" and any(READY.search(word) for word in probe.words)


@rule(
    "IHS002",
    ERROR,
    "The livenessProbe asks for readiness",
    why="A server that loads a model, or has one broken model, is not ready and is alive. A livenessProbe that asks for"
    " readiness restarts it, and every model is loaded again.",
    instead="Ask for liveness: /healthz of the sidecar, or the server's own liveness path (/v2/health/live).",
)
def liveness_asks_readiness(case: Case) -> Iterator[Found]:
    """A livenessProbe of the server that probes readiness."""
    probe = case.server.probe("livenessProbe")
    if probe and _asks_readiness(probe, case.server):
        asked = probe.http_path if probe.handler == "httpGet" else " ".join(probe.words) or "readyz"
        edits: list[Edit] = [(("livenessProbe", probe.handler), Removed)]
        if probe.handler == "httpGet":  # replaced in place, to keep its comments
            edits = []
        new = question(case, "livenessProbe")
        edits += [(("livenessProbe", "httpGet", key), value) for key, value in new.items()]
        message = (
            f"it asks {asked}: the server is restarted while it loads a model or has a broken one"
        )
        yield in_container(case.server, message, *edits, place=("livenessProbe",))


@rule(
    "IHS003",
    WARNING,
    "There is a livenessProbe and no startupProbe",
    why="Until its models are loaded a server may not answer. Without a startupProbe the livenessProbe counts from the"
    " start, and kills a server that loads for longer than it allows, again and again. An initialDelaySeconds instead"
    " delays every restart's first check, and will be too short one day.",
    instead="Add a startupProbe whose periodSeconds x failureThreshold is longer than the slowest load.",
)
def no_startup(case: Case) -> Iterator[Found]:
    """A livenessProbe of the server without a startupProbe before it."""
    liveness = case.server.probe("livenessProbe")
    if not liveness or case.server.probe("startupProbe"):
        return
    same = {k: plain(v) for k, v in liveness.raw.items() if k == liveness.handler}
    if case.sidecar or liveness.handler not in ("httpGet", "grpc"):
        same = {"httpGet": question(case, "startupProbe")}
    probe = {**same, **STARTUP}
    message = f"a load of more than {liveness.budget:g} s is killed by the livenessProbe"
    edit: Edit = (("startupProbe",), probe)
    place = ("livenessProbe",)
    yield in_container(case.server, message, edit, place=place, shown=("startupProbe",))


@rule(
    "IHS004",
    ERROR,
    "The startupProbe allows less time than the initialDelaySeconds that was left",
    why="An initialDelaySeconds of the livenessProbe says how long somebody once found a load to take. A startupProbe that"
    " allows less kills the container before that.",
    instead="Give the startupProbe at least that time, and remove the initialDelaySeconds: it begins to count after the"
    " startupProbe.",
)
def startup_too_short(case: Case) -> Iterator[Found]:
    """A startupProbe whose time is shorter than the delay of the livenessProbe."""
    startup, liveness = (case.server.probe(k) for k in ("startupProbe", "livenessProbe"))
    if startup and liveness and startup.budget < liveness.delay:
        message = f"it allows {startup.budget:g} s, and the livenessProbe has an initialDelaySeconds of {liveness.delay:g}"
        threshold = max(180, int(2 * liveness.delay / max(startup.period, 1)))
        edit: Edit = (("startupProbe", "failureThreshold"), threshold)
        yield in_container(case.server, message, edit, place=("startupProbe",))


@rule(
    "IHS006",
    WARNING,
    "The livenessProbe has a timeout of a second",
    why="The default of timeoutSeconds is 1. A server that computes may answer later than that without being dead.",
    instead="Set timeoutSeconds to what a busy server needs for an answer; 2 where the sidecar is asked, 5 or more for a server.",
)
def short_timeout(case: Case) -> Iterator[Found]:
    """A livenessProbe of the server with the kubelet's default timeout."""
    probe = case.server.probe("livenessProbe")
    if probe and probe.timeout < 2:
        set_or_not = "is" if "timeoutSeconds" in probe.raw else "is not set, and so"
        message = f"timeoutSeconds {set_or_not} {probe.timeout:g}: a busy server may answer later"
        edit: Edit = (("livenessProbe", "timeoutSeconds"), 2 if probe.asks_sidecar else 5)
        yield in_container(case.server, message, edit, place=("livenessProbe",))


@rule(
    "IHS007",
    ERROR,
    "One failure of the livenessProbe restarts the server",
    why="With failureThreshold: 1 a single slow answer, a full queue or a lost packet costs the loading of every model.",
    instead="Set failureThreshold to 3 or more.",
)
def one_failure(case: Case) -> Iterator[Found]:
    """A livenessProbe of the server with a failureThreshold of 1."""
    probe = case.server.probe("livenessProbe")
    if probe and probe.failures == 1:
        message = "failureThreshold: 1 restarts the server after a single failure"
        edit: Edit = (("livenessProbe", "failureThreshold"), 6)
        yield in_container(case.server, message, edit, place=("livenessProbe",))


@rule(
    "IHS008",
    WARNING,
    "A server that is busy is killed soon",
    why="A server that computes in the thread that answers, or swaps, or is throttled, does not answer for some seconds."
    " And where the sidecar is asked, a sidecar that has crashed needs time to come back.",
    instead="Set periodSeconds and failureThreshold of the livenessProbe so that their product is a minute. Traffic is stopped by readiness, which is quick.",
)
def impatient(case: Case) -> Iterator[Found]:
    """A livenessProbe of the server that restarts it within half a minute."""
    probe = case.server.probe("livenessProbe")
    if probe and probe.failures > 1 and probe.period * probe.failures < BUSY_SECONDS:
        seconds = probe.period * (probe.failures - 1) + probe.timeout
        message = f"a server that does not answer for {seconds:g} s is killed"
        edits: list[Edit] = [(("livenessProbe", "periodSeconds"), 10)]
        edits.append((("livenessProbe", "failureThreshold"), 6))
        yield in_container(case.server, message, *edits, place=("livenessProbe",))


@rule(
    "IHS009",
    ERROR,
    "A livenessProbe or startupProbe has a successThreshold other than 1",
    why="Kubernetes refuses such a pod: only a readinessProbe may need several successes.",
    instead="Remove it.",
)
def success_threshold(case: Case) -> Iterator[Found]:
    """A successThreshold that Kubernetes rejects."""
    for container in filter(None, (case.server, case.sidecar)):
        for probe in container.probes:
            if probe.kind != "readinessProbe" and probe.successes != 1:
                message = f"successThreshold: {probe.successes} is refused by Kubernetes"
                edit: Edit = ((probe.kind, "successThreshold"), Removed)
                yield in_container(container, message, edit, place=(probe.kind,))
