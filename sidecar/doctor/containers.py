"""A container of a pod and its probes, with the kubelet's defaults."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sidecar.doctor import servers
from sidecar.doctor.documents import Document
from sidecar.doctor.nodes import Path, at, items, number, text
from sidecar.doctor.servers import Server

KINDS = ("startupProbe", "livenessProbe", "readinessProbe")
SIDECAR_PATHS = ("/healthz", "/readyz", "/startupz", "/livez")
SIDECAR_PORT = 9808


@dataclass(frozen=True, eq=False)
class Probe:
    """One probe of a container, with the kubelet's defaults."""

    kind: str
    raw: Mapping[str, Any]
    path: Path

    @property
    def handler(self) -> str:
        """`httpGet`, `grpc`, `tcpSocket` or `exec`; empty if it has none of them."""
        return next((h for h in ("httpGet", "grpc", "tcpSocket", "exec") if h in self.raw), "")

    @property
    def port(self) -> int | str:
        """The port that it probes, a number or a name; empty if there is none."""
        port = at(self.raw, self.handler, "port")
        return port if isinstance(port, int | str) else ""

    @property
    def http_path(self) -> str:
        """The path of an HTTP probe without its query."""
        return (text(self.raw, "httpGet", "path") or "/").partition("?")[0]

    @property
    def words(self) -> list[str]:
        """The command of an exec probe."""
        return [str(word) for word in items(self.raw, "exec", "command")]

    @property
    def period(self) -> float:
        """Its periodSeconds."""
        return number(self.raw, "periodSeconds", default=10)

    @property
    def timeout(self) -> float:
        """Its timeoutSeconds."""
        return number(self.raw, "timeoutSeconds", default=1)

    @property
    def failures(self) -> int:
        """Its failureThreshold."""
        return int(number(self.raw, "failureThreshold", default=3))

    @property
    def successes(self) -> int:
        """Its successThreshold."""
        return int(number(self.raw, "successThreshold", default=1))

    @property
    def delay(self) -> float:
        """Its initialDelaySeconds."""
        return number(self.raw, "initialDelaySeconds", default=0)

    @property
    def budget(self) -> float:
        """The seconds from the container's start until the failure threshold is reached."""
        return self.delay + self.period * self.failures

    @property
    def asks_sidecar(self) -> str:
        """The endpoint of the sidecar that it probes; empty if it probes something else."""
        if self.handler == "httpGet" and self.http_path in SIDECAR_PATHS:
            return self.http_path
        if self.handler == "grpc":
            endpoint = f"/{text(self.raw, 'grpc', 'service')}"
            return endpoint if endpoint in SIDECAR_PATHS else ""
        return ""


@dataclass(frozen=True, eq=False)
class Container:
    """A container of a pod, and its position in the document."""

    document: Document
    path: Path
    raw: Mapping[str, Any]
    is_init: bool = False
    format: str = ""

    @property
    def name(self) -> str:
        """Its name; KServe's if the container is defined by a model."""
        return text(self.raw, "name") or ("kserve-container" if self.format else "")

    @property
    def is_native_sidecar(self) -> bool:
        """Whether it is an init container that keeps running."""
        return self.is_init and text(self.raw, "restartPolicy") == "Always"

    @cached_property
    def words(self) -> list[str]:
        """The words of its command line, as far as the manifest has them."""
        parts = [str(part) for key in ("command", "args") for part in items(self.raw, key)]
        return [word for part in parts for word in part.split()]

    @cached_property
    def variables(self) -> dict[str, str | None]:
        """Its variables; None for a value that is not in the manifest."""
        found = [entry for entry in items(self.raw, "env") if isinstance(entry, Mapping)]
        return {
            text(entry, "name"): str(entry["value"]) if "value" in entry else None
            for entry in found
        }

    def flags(self, name: str) -> list[str]:
        """Return the values of a command line flag: `--name=value` and `--name value`."""
        values = []
        for place, word in enumerate(self.words):
            flag, has_value, value = word.partition("=")
            if flag == name:
                following = self.words[place + 1 : place + 2]
                values.append(value if has_value else "".join(following))
        return values

    def probe(self, kind: str) -> Probe | None:
        """Return one of its probes."""
        raw = at(self.raw, kind)
        return Probe(kind, raw, (*self.path, kind)) if isinstance(raw, Mapping) else None

    @property
    def probes(self) -> Iterator[Probe]:
        """All of its probes."""
        for kind in KINDS:
            if probe := self.probe(kind):
                yield probe

    @property
    def ports(self) -> list[Mapping[str, Any]]:
        """The ports that it declares."""
        return [port for port in items(self.raw, "ports") if isinstance(port, Mapping)]

    def number_of(self, port: int | str) -> int | None:
        """Return the number of a port; None for a name that it does not declare."""
        if isinstance(port, int):
            return port
        found = (at(one, "containerPort") for one in self.ports if text(one, "name") == port)
        return next((one for one in found if isinstance(one, int)), None)

    @cached_property
    def server(self) -> Server | None:
        """The known inference server that it runs, if any."""
        if self.format in servers.FORMATS:
            return servers.FORMATS[self.format]
        found = servers.recognise(text(self.raw, "image"), self.words)
        return found or (servers.KSERVE if self.format else None)

    def port_of(self, port: servers.Port) -> int | None:
        """Return the number of its server's port in this container; None if it is unknown."""
        given = self.flags(port.flag) if port.flag else []
        if not given and port.variable in self.variables:
            given = [self.variables[port.variable] or ""]
        if not given:
            return port.default or None
        return int(given[-1]) if given[-1].isdigit() else None

    @property
    def pre_stop(self) -> float | None:
        """The seconds that its preStop sleeps; None if it does not."""
        hook = at(self.raw, "lifecycle", "preStop")
        if hook is None:
            return None
        if at(hook, "sleep") is not None:
            return number(hook, "sleep", "seconds", default=0)
        command = " ".join(str(word) for word in items(hook, "exec", "command"))
        match = re.search(r"\bsleep\s+(\d+(?:\.\d+)?)", command)
        return float(match[1]) if match else None


def is_sidecar(container: Container) -> bool:
    """Whether a container is this sidecar."""
    image = text(container.raw, "image")
    names = [name for name in container.variables if name.startswith("SIDECAR_")]
    if "inference-health-sidecar" in image:
        return "sidecar.demo" not in container.words
    return len(names) > 1 or "SIDECAR_CONFIG" in names
