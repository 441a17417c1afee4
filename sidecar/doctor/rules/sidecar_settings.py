"""Mistakes in the sidecar's settings, and secrets: IHS032 to IHS039."""

import re
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
from sidecar.doctor.nodes import text
from sidecar.doctor.servers import KSERVE

SECRET = re.compile(r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY|CREDENTIALS)$")


def served_models(case: Case) -> list[str]:
    """Return the models in the server's command line; none if they are unknown."""
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
            message = f"models has {', '.join(missing)}, but the server's command line has {', '.join(served)}"
            yield in_container(case.sidecar, message, place=("env",))


@rule(
    "IHS033",
    ERROR,
    "A secret is in plain text",
    why="Everyone who can read the manifest, the pod or the repository can read the secret.",
    instead="Use a Secret: valueFrom.secretKeyRef, or for the sidecar bearer_token_file.",
)
def plain_secret(case: Case) -> Iterator[Found]:
    """A variable whose name means a secret, with its value in the manifest."""
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
    if (
        server.format and known is not KSERVE
    ):  # KServe's runtimes for other servers use different ports
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
    why="The sidecar exits with code 2 at every start, so that the server's probes fail.",
    instead="Correct them. `sidecar config` checks a settings file on your machine.",
)
def bad_settings(case: Case) -> Iterator[Found]:
    """Settings that the sidecar rejects."""
    for wrong in case.read.wrong if case.sidecar and case.read else ():
        assert case.sidecar
        yield in_container(case.sidecar, wrong, place=("env",))


@rule(
    "IHS039",
    WARNING,
    "No inference proves the models",
    why="Servers report a model as ready while its worker is dead or hangs. On five servers this was the case in 56 of 277 measured situations.",
    instead="Set canary: auto.",
)
def no_canary(case: Case) -> Iterator[Found]:
    """A sidecar without canaries for its required models."""
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
        f"canary is off: {name} relies on what the server reports about its models",
        place=("env",),
    )
