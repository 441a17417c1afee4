"""Mistakes in probes: IHS001 to IHS021."""

import re
from collections.abc import Iterator

from sidecar.doctor.documents import plain
from sidecar.doctor.findings import ERROR, WARNING, Case, Edit, Found, Removed, in_container, rule
from sidecar.doctor.pods import SIDECAR_PATHS, SIDECAR_PORT, Container, Probe

READY = re.compile(r"ready|readiness")
INTERPRETERS = re.compile(r"python[\d.]*|node|java|ruby|perl|php|sidecar")
SHELLS = re.compile(r"(ba|da|a|z)?sh")
PREFIXES = re.compile(r"exec|env|nice|timeout|\w+=.*|-.*|[\d.]+s?")

BUSY_SECONDS = 30  # for which a server must be able to be slow, and a sidecar to come back
SLOW_READINESS = 30
LATE_READINESS = 30

STARTUP = {"periodSeconds": 10, "timeoutSeconds": 2, "failureThreshold": 180}


def endpoint(path: str, **numbers: int) -> dict[str, object]:
    """A probe that asks the sidecar."""
    return {"httpGet": {"path": path, "port": SIDECAR_PORT}, **numbers}


def _asks_readiness(probe: Probe, server: Container) -> bool:
    if asked := probe.asks_sidecar:
        return asked in ("/readyz", "/startupz")
    if probe.handler == "httpGet":
        pattern = server.server.readiness if server.server else r"(?!)"
        ready = re.search(r"/ready(z|iness)?$", probe.http_path)
        return bool(ready or re.fullmatch(pattern, probe.http_path))
    return probe.handler == "exec" and any(READY.search(word) for word in probe.words)


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
    # KServe gives a model without one a probe of its own.
    if case.sidecar or server.format or server.probe("readinessProbe"):
        return
    known = server.server
    port = server.port_of(known.http) if known else None
    path = "/v2/health/ready" if known and known.speaks_oip else "/health"
    probe = {"httpGet": {"path": path, "port": port or 8000}, "periodSeconds": 5}
    edit: Edit = (("readinessProbe",), {**probe, "timeoutSeconds": 5, "failureThreshold": 3})
    message = "there is no readinessProbe, so traffic comes before the models are loaded"
    yield in_container(server, message, edit, shown=("readinessProbe",))


@rule(
    "IHS002",
    ERROR,
    "The livenessProbe asks for readiness",
    why="A server that loads a model, or has one broken model, is not ready and is alive. A livenessProbe that asks for"
    " readiness restarts it, and every model is loaded again.",
    instead="Ask for liveness: /healthz of the sidecar, or the server's own liveness path (/v2/health/live).",
)
def liveness_asks_readiness(case: Case) -> Iterator[Found]:
    """A livenessProbe of the server whose question is one for readiness."""
    probe = case.server.probe("livenessProbe")
    if probe and _asks_readiness(probe, case.server):
        asked = probe.http_path if probe.handler == "httpGet" else " ".join(probe.words) or "readyz"
        kind = ("livenessProbe", "httpGet")
        edits: list[Edit] = []
        if probe.asks_sidecar or case.sidecar:
            edits = [((*kind, "path"), "/healthz"), ((*kind, "port"), SIDECAR_PORT)]
        elif case.server.server and case.server.server.speaks_oip:
            edits = [((*kind, "path"), "/v2/health/live")]
        if probe.handler != "httpGet":
            edits = [(("livenessProbe", probe.handler), Removed), *edits]
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
    " delays every restart's first check, and is too short one day.",
    instead="Add a startupProbe whose periodSeconds x failureThreshold is longer than the slowest load.",
)
def no_startup(case: Case) -> Iterator[Found]:
    """A livenessProbe of the server without a startupProbe before it."""
    liveness = case.server.probe("livenessProbe")
    if not liveness or case.server.probe("startupProbe"):
        return
    same = {k: plain(v) for k, v in liveness.raw.items() if k == liveness.handler}
    probe = endpoint("/startupz", **STARTUP) if case.sidecar else {**same, **STARTUP}
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
    instead="Give the startupProbe at least that time, and take the initialDelaySeconds away: it begins to count after the"
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
    "IHS005",
    WARNING,
    "The readinessProbe waits before it asks",
    why="An initialDelaySeconds of a readinessProbe keeps a server that is ready out of the Service, at every start.",
    instead="Take it away. A readinessProbe that fails costs nothing; a startupProbe decides how long a load may take.",
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
    "IHS006",
    WARNING,
    "The livenessProbe has a time-out of a second",
    why="The default of timeoutSeconds is 1. A server that computes may answer later than that without being dead.",
    instead="Set timeoutSeconds to what a busy server needs for an answer; 2 where the sidecar is asked, 5 or more for a server.",
)
def short_timeout(case: Case) -> Iterator[Found]:
    """A livenessProbe of the server with the kubelet's default time-out."""
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
    instead="Let periodSeconds x failureThreshold of the livenessProbe be a minute. Traffic is stopped by readiness, which is quick.",
)
def impatient(case: Case) -> Iterator[Found]:
    """A livenessProbe of the server whose failures add up within half a minute."""
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
    why="Kubernetes refuses such a pod: only a readinessProbe may want several successes.",
    instead="Take it away.",
)
def success_threshold(case: Case) -> Iterator[Found]:
    """A successThreshold that Kubernetes refuses."""
    for container in filter(None, (case.server, case.sidecar)):
        for probe in container.probes:
            if probe.kind != "readinessProbe" and probe.successes != 1:
                message = f"successThreshold: {probe.successes} is refused by Kubernetes"
                edit: Edit = ((probe.kind, "successThreshold"), Removed)
                yield in_container(container, message, edit, place=(probe.kind,))


@rule(
    "IHS010",
    ERROR,
    "A probe names a port that its container does not declare",
    why="The kubelet looks for the name in the ports of the container that has the probe, and nowhere else. The probe fails always.",
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
    """The number that a probe of the server asks, and the one that it should ask."""
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
    why="The probe fails always: the port is that of gRPC, of the metrics or of nothing, or it is not the sidecar's.",
    instead="Ask the HTTP port of the server, or http_port of the sidecar (9808).",
)
def wrong_port(case: Case) -> Iterator[Found]:
    """A probe of the server on a port on which nothing answers it."""
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
    why="The answer is 404, so that the probe fails always: the container is restarted or never becomes ready.",
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
            ready = "ready" if probe.kind == "readinessProbe" else "live"
            path = f"/v2/health/{ready}" if known.speaks_oip else "/health"
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
    """A gRPC probe that asks a server which does not implement it."""
    server = case.server
    for probe in server.probes:
        if probe.handler != "grpc" or not server.server or server.server.has_grpc_health:
            continue
        if case.settings and case.settings.grpc_port == server.number_of(probe.port):
            continue
        message = (
            f"{server.server.name} does not implement grpc.health.v1, so the probe fails always"
        )
        path = {"livenessProbe": "/healthz", "readinessProbe": "/readyz"}.get(
            probe.kind, "/startupz"
        )
        edits: list[Edit] = [((probe.kind, "grpc"), Removed)]
        edits.append(((probe.kind, "httpGet"), {"path": path, "port": SIDECAR_PORT}))
        yield in_container(server, message, *edits, place=(probe.kind,))


def _programs(words: list[str]) -> Iterator[str]:
    """The names of the programs that a command starts, those of a shell's script included."""
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
    why="Each run costs a start of the interpreter in the container of the server: tenths of a second of CPU, and time-outs"
    " when the server is busy. The time-out ends the probe; the process may go on.",
    instead="Use httpGet. The sidecar asks the server over a connection that it keeps, and answers from memory.",
)
def interpreter(case: Case) -> Iterator[Found]:
    """An exec probe of the server whose command is an interpreter."""
    for probe in case.server.probes:
        program = next(filter(INTERPRETERS.fullmatch, _programs(probe.words)), "")
        if program:
            message = f"each {probe.period:g} s a process of {program} is started"
            path = {"livenessProbe": "/healthz", "readinessProbe": "/readyz"}
            edits: list[Edit] = [((probe.kind, "exec"), Removed)]
            new = {"path": path.get(probe.kind, "/startupz"), "port": SIDECAR_PORT}
            edits.append(((probe.kind, "httpGet"), new))
            yield in_container(case.server, message, *edits, place=(probe.kind,))


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
        known = case.server.server
        port: int | str | None = SIDECAR_PORT if case.sidecar else None
        path = "/readyz" if case.sidecar else "/v2/health/ready"
        if port is None and known:
            port, path = case.server.port_of(known.http), path if known.speaks_oip else "/health"
        edits.append((("readinessProbe", "httpGet"), {"path": path, "port": port or "http"}))
        yield in_container(case.server, message, *edits, place=("readinessProbe",))


@rule(
    "IHS016",
    ERROR,
    "The sidecar's livenessProbe asks about the server",
    why="The kubelet restarts the container that has the probe: here the sidecar, which is well. The server is never restarted.",
    instead="On the sidecar ask /livez. /healthz belongs to the livenessProbe of the server's container.",
)
def wrong_container(case: Case) -> Iterator[Found]:
    """A livenessProbe on the sidecar that judges the server."""
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
    " server waits for ever, and the pod never starts.",
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
    "The sidecar's readinessProbe wants several failures",
    why="The sidecar has thresholds of its own. More of them in the kubelet only send traffic to a server that has failed.",
    instead="Set failureThreshold: 1 on the sidecar's readinessProbe; change readiness_failure_threshold where that is too nervous.",
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
    why="The sidecar's verdict reaches nobody: the pod gets traffic whatever /readyz says.",
    instead="Add a readinessProbe to the sidecar's container. It gates the whole pod.",
)
def ungated(case: Case) -> Iterator[Found]:
    """A pod with our sidecar in which no readinessProbe asks /readyz."""
    probes = (c.probe("readinessProbe") for c in (case.sidecar, case.server) if c)
    if case.sidecar and not any(probe and probe.asks_sidecar == "/readyz" for probe in probes):
        numbers = {"periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 1}
        edit: Edit = (("readinessProbe",), endpoint("/readyz", **numbers))
        message = "no readinessProbe of the pod asks /readyz"
        yield in_container(case.sidecar, message, edit, shown=("readinessProbe",))


@rule(
    "IHS020",
    WARNING,
    "The server's probes do not ask the sidecar that is there",
    why="The server's own idea of liveness restarts it where it is only busy, and its start-up ends before its models are ready.",
    instead="Let the server's livenessProbe ask /healthz and its startupProbe /startupz, by the number of the sidecar's port.",
)
def not_asked(case: Case) -> Iterator[Found]:
    """A livenessProbe or startupProbe of the server that does not ask our sidecar."""
    for kind, path in (("livenessProbe", "/healthz"), ("startupProbe", "/startupz")):
        probe = case.server.probe(kind)
        if case.sidecar and probe and probe.handler in ("httpGet", "tcpSocket"):
            port = case.settings.http_port if case.settings else SIDECAR_PORT
            if probe.asks_sidecar or case.server.number_of(probe.port) == port:
                continue
            edits: list[Edit] = [((kind, probe.handler), Removed)]
            edits.append(((kind, "httpGet"), {"path": path, "port": port}))
            yield in_container(
                case.server, f"it does not ask {path} of the sidecar", *edits, place=(kind,)
            )


@rule(
    "IHS021",
    WARNING,
    "A server that has failed keeps its traffic for long",
    why="Requests go to it until the readinessProbe has failed often enough.",
    instead="Let periodSeconds x failureThreshold of the readinessProbe be 10 to 20 seconds.",
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
