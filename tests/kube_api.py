"""An API server that takes Events as Kubernetes 1.36 does, or answers as it is told to.

What it demands is what Kubernetes' own validation of events.k8s.io/v1 demands.
"""

import asyncio
import json
import re
import ssl
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.conftest import Pki

COLLECTION = "/apis/events.k8s.io/v1/namespaces/{namespace}/events"
NAMESPACE = "models"
TOKEN = "first-token"

SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
QUALIFIED_NAME = r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
LABEL = r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?"
MICRO_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)"

FIELDS = {
    "apiVersion", "kind", "metadata", "eventTime", "series", "reportingController",
    "reportingInstance", "action", "reason", "regarding", "related", "note", "type",
}  # fmt: skip
CHANGEABLE = {"series", "metadata"}

Event = dict[str, Any]
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def problems(event: Event, namespace: str) -> list[str]:
    """What Kubernetes would refuse, by field."""
    found = [f"{name}: unknown field" for name in event.keys() - FIELDS]

    def demand(condition: object, field: str) -> None:
        if not condition:
            found.append(f"{field}: Invalid value or Required value")

    metadata, regarding = event.get("metadata", {}), event.get("regarding", {})
    demand(event.get("apiVersion") == "events.k8s.io/v1", "apiVersion")
    demand(event.get("kind") == "Event", "kind")
    name = metadata.get("name", "")
    demand(len(name) <= 253 and re.fullmatch(SUBDOMAIN, name), "metadata.name")
    demand(metadata.get("namespace", namespace) == namespace, "metadata.namespace")
    for key, value in metadata.get("labels", {}).items():
        demand(re.fullmatch(QUALIFIED_NAME, key), "metadata.labels")
        demand(re.fullmatch(LABEL, value), "metadata.labels")
    demand(re.fullmatch(MICRO_TIME, event.get("eventTime") or ""), "eventTime")
    demand(
        re.fullmatch(QUALIFIED_NAME, event.get("reportingController", "")), "reportingController"
    )
    for field in ("reportingInstance", "action", "reason"):
        demand(0 < len(event.get(field, "").encode()) <= 128, field)
    demand(len(event.get("note", "").encode()) <= 1024, "note")
    demand(event.get("type") in {"Normal", "Warning"}, "type")
    demand(regarding.get("namespace") == namespace, "regarding.namespace")
    for field in ("kind", "name"):
        demand(regarding.get(field), f"regarding.{field}")
    if "series" in event:
        series = event["series"]
        demand(isinstance(series.get("count"), int) and series["count"] >= 2, "series.count")
        last = series.get("lastObservedTime") or ""
        demand(re.fullmatch(MICRO_TIME, last), "series.lastObservedTime")
    return found


def status(code: int, message: str, **headers: str) -> web.Response:
    """Kubernetes' answer to what it does not do."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message}
    return web.json_response({**body, "code": code}, status=code, headers=headers)


class KubeApi:
    """What was asked of it, and what it holds."""

    def __init__(self, pki: Pki, directory: Path) -> None:
        self.token = TOKEN
        self.events: dict[str, Event] = {}
        self.requests: list[tuple[float, str, int]] = []  # when, method, status
        self.refused: list[str] = []
        self.misbehave: Answer | None = None
        self.directory = directory
        self.pki = pki
        self.port = 0
        self.write(token=TOKEN, namespace=NAMESPACE)
        (directory / "ca.crt").write_bytes(pki.ca.read_bytes())

    def write(self, **files: str) -> None:
        """Writes files of the service account."""
        for name, text in files.items():
            (self.directory / name).write_text(text + "\n")

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def reasons(self) -> list[str]:
        return [event["reason"] for event in self.events.values()]

    @property
    def notes(self) -> list[str]:
        return [event["note"] for event in self.events.values()]

    @asynccontextmanager
    async def serving(self):
        """Serves on a free port."""
        app = web.Application(middlewares=[self._answer])
        app.router.add_post(COLLECTION, self.create)
        app.router.add_patch(COLLECTION + "/{name}", self._patch)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pki.cert, self.pki.key)
        site = web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=context)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()

    @web.middleware
    async def _answer(self, request: web.Request, handler: Answer) -> web.StreamResponse:
        now = asyncio.get_running_loop().time()
        self.requests.append((now, request.method, 0))
        place = len(self.requests) - 1
        response = await (self.misbehave or self._behave(handler))(request)
        self.requests[place] = (now, request.method, response.status)
        return response

    def _behave(self, handler: Answer) -> Answer:
        async def behave(request: web.Request) -> web.StreamResponse:
            if request.headers.get("Authorization") != f"Bearer {self.token}":
                return status(401, "Unauthorized")
            return await handler(request)

        return behave

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Creates what a request gives, as Kubernetes does."""
        namespace = request.match_info["namespace"]
        if namespace != NAMESPACE:
            return status(404, f'namespaces "{namespace}" not found')
        if request.content_type != "application/json":
            return status(415, "the body of the request was in an unknown format")
        event = json.loads(await request.text())
        found = problems(event, namespace)
        name = event.get("metadata", {}).get("name", "")
        if not found and name in self.events:
            return status(409, f'events.events.k8s.io "{name}" already exists')
        return self._keep(name, event, found, 201)

    async def _patch(self, request: web.Request) -> web.Response:
        if request.content_type != "application/merge-patch+json":
            return status(415, "the body of the request was in an unknown format")
        name = request.match_info["name"]
        if name not in self.events:
            return status(404, f'events.events.k8s.io "{name}" not found')
        changes = json.loads(await request.text())
        before = self.events[name]
        after = {**before, **changes}
        found = [f"{field}: field is immutable" for field in changes.keys() - CHANGEABLE]
        return self._keep(name, after, found + problems(after, NAMESPACE), 200)

    def _keep(self, name: str, event: Event, found: list[str], code: int) -> web.Response:
        if found:
            self.refused += found
            return status(422, f'Event "{name}" is invalid: {"; ".join(found)}')
        self.events[name] = event
        return web.json_response(event, status=code)
