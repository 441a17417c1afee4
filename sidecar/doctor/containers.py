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
    """One probe of a container; what it does not say has the kubelet's default."""

    kind: str
    raw: Mapping[str, Any]
    path: Path

    @property
    def handler(self) -> str:
        """`httpGet`, `grpc`, `tcpSocket` or `exec`; empty where there is none of them."""
        return next((h for h in ("httpGet", "grpc", "tcpSocket", "exec") if h in self.raw), "")

    @property
    def port(self) -> int | str:
        """The port that is asked, a number or a name; empty where there is none."""
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
        """Seconds from the start until it has failed often enough."""
        return self.delay + self.period * self.failures

    @property
    def asks_sidecar(self) -> str:
        """The endpoint of the sidecar that it asks; empty where it asks something else."""
        if self.handler == "httpGet" and self.http_path in SIDECAR_PATHS:
            return self.http_path
        if self.handler == "grpc":
            endpoint = f"/{text(self.raw, 'grpc', 'service')}"
            return endpoint if endpoint in SIDECAR_PATHS else ""
        return ""


@dataclass(frozen=True, eq=False)
class Container:
    """A container of a pod, and where it stands."""

    document: Document
    path: Path
    raw: Mapping[str, Any]
    is_init: bool = False
    format: str = ""

    @property
    def name(self) -> str:
        """Its name; that of KServe where a model stands for the container."""
        return text(self.raw, "name") or ("kserve-container" if self.format else "")

    @property
    def is_native_sidecar(self) -> bool:
        """Whether it is an init container that goes on running."""
        return self.is_init and text(self.raw, "restartPolicy") == "Always"

    @cached_property
    def words(self) -> list[str]:
        """Its command line, as far as it is given, in words."""
        parts = [str(part) for key in ("command", "args") for part in items(self.raw, key)]
        return [word for part in parts for word in part.split()]

    @cached_property
    def variables(self) -> dict[str, str | None]:
        """Its variables; None where the value comes from elsewhere."""
        found = [entry for entry in items(self.raw, "env") if isinstance(entry, Mapping)]
        return {
            text(entry, "name"): str(entry["value"]) if "value" in entry else None
            for entry in found
        }

    def flags(self, name: str) -> list[str]:
        """The values of a flag of its command line: `--name=value` and `--name value`."""
        values = []
        for place, word in enumerate(self.words):
            flag, has_value, value = word.partition("=")
            if flag == name:
                following = self.words[place + 1 : place + 2]
                values.append(value if has_value else "".join(following))
        return values

    def probe(self, kind: str) -> Probe | None:
        """One of its probes."""
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
        """The number of a port; None for a name that it does not declare."""
        if isinstance(port, int):
            return port
        found = (at(one, "containerPort") for one in self.ports if text(one, "name") == port)
        return next((one for one in found if isinstance(one, int)), None)

    @cached_property
    def server(self) -> Server | None:
        """The inference server that it runs, if it is a known one."""
        if self.format in servers.FORMATS:
            return servers.FORMATS[self.format]
        found = servers.recognise(text(self.raw, "image"), self.words)
        return found or (servers.KSERVE if self.format else None)

    def port_of(self, port: servers.Port) -> int | None:
        """The number that a port of its server has here; None where it cannot be known."""
        given = self.flags(port.flag) if port.flag else []
        if not given and port.variable in self.variables:
            given = [self.variables[port.variable] or ""]
        if not given:
            return port.default or None
        return int(given[-1]) if given[-1].isdigit() else None

    @property
    def pre_stop(self) -> float | None:
        """Seconds that its preStop sleeps; None where it has none that sleeps."""
        hook = at(self.raw, "lifecycle", "preStop")
        if hook is None:
            return None
        if at(hook, "sleep") is not None:
            return number(hook, "sleep", "seconds", default=0)
        command = " ".join(str(word) for word in items(hook, "exec", "command"))
        match = re.search(r"\bsleep\s+(\d+(?:\.\d+)?)", command)
        return float(match[1]) if match else None


def is_sidecar(container: Container) -> bool:
    """Whether a container is our sidecar."""
    image = text(container.raw, "image")
    names = [name for name in container.variables if name.startswith("SIDECAR_")]
    if "inference-health-sidecar" in image:
        return "sidecar.demo" not in container.words
    return len(names) > 1 or "SIDECAR_CONFIG" in names
