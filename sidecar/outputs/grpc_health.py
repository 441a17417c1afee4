"""grpc.health.v1 for the inference server: Check, Watch and List, answered from memory."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import grpc.aio

from sidecar.core.services import Services
from sidecar.core.snapshot import Snapshot
from sidecar.oip import health as messages
from sidecar.store import Cause, Change

SERVICE = "grpc.health.v1.Health"

Response = messages.HealthCheckResponse
Status = messages.HealthCheckResponse.ServingStatus

MAX_WATCHERS = 2000
MAX_LISTED = 1000  # services; each takes a few microseconds in the event loop
MAX_REQUEST_BYTES = 8192
# Minimum seconds between two messages of a watch; changes in between are combined.
MIN_INTERVAL = 0.1
# Seconds between two evaluations without a change, because results become stale.
TICK = 0.5
# Seconds after which a client that does not read a message is disconnected.
WRITE_TIMEOUT = 20
# Seconds for the last messages at shutdown.
CLOSE_TIMEOUT = 0.5

OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    # Detects clients that have disappeared without closing the connection.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)


class GrpcHealth:
    """The health service. It observes the store to notify the clients of Watch.

    snapshot:      returns the current snapshot.
    host:          to listen on; None for all interfaces, including IPv6 if available.
    max_watchers:  further Watch calls are rejected.
    """

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        host: str | None,
        port: int,
        *,
        max_watchers: int = MAX_WATCHERS,
    ) -> None:
        self._snapshot = snapshot
        self._max_watchers = max_watchers
        self._address = _address(host, port)
        self._services = Services(())
        self._watched: Counter[str] = Counter()
        self._statuses: dict[str, Status] = {}  # of the watched services
        self._changed = asyncio.Event()
        self._is_due = False
        self._is_closing = False

    def count_watchers(self) -> int:
        """The number of open Watch calls."""
        return self._watched.total()

    def __call__(self, change: Change) -> None:
        """Observe changes: schedule an update of the watched services."""
        if change.cause in (Cause.RELOAD, Cause.CHECKS, Cause.OTHER_SERVER):
            self._services = Services(change.health.checks)
        elif not change.transitions and change.cause is Cause.RESULT:
            return
        if self._watched and not self._is_due:
            # Once for all changes in this iteration of the event loop.
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._update)

    async def serve(self) -> None:
        """Serve until cancelled. RuntimeError if the port cannot be listened on."""
        self._services = Services(self._snapshot().health.checks)
        server = grpc.aio.server(options=OPTIONS)
        server.add_generic_rpc_handlers((self._handler(),))
        server.add_insecure_port(self._address)
        await server.start()
        try:
            while True:  # results become stale without a change
                await asyncio.sleep(TICK)
                self._update()
        finally:
            # Watch calls get the last status, and then end.
            self._is_closing = True
            self._update()
            self._changed.set()
            await server.stop(CLOSE_TIMEOUT)

    def _update(self) -> None:
        self._is_due = False
        snapshot = self._snapshot()
        statuses = {service: self._status(service, snapshot) for service in self._watched}
        if statuses != self._statuses:
            self._statuses = statuses
            self._changed.set()
            self._changed = asyncio.Event()

    def _status(self, service: str, snapshot: Snapshot) -> Status:
        serving = self._services.is_serving(service, snapshot)
        if serving is None:
            return Response.SERVICE_UNKNOWN
        return Response.SERVING if serving else Response.NOT_SERVING

    async def _check(
        self, request: messages.HealthCheckRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> Response:
        status = self._status(request.service, self._snapshot())
        if status == Response.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return Response(status=status)

    async def _list(
        self, _: messages.HealthListRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> messages.HealthListResponse:
        snapshot, names = self._snapshot(), self._services.names
        response = messages.HealthListResponse()
        if len(names) > MAX_LISTED:
            text = f"{len(names)} services are too many for a list; Check or Watch one of them"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        for service in names:
            response.statuses[service].status = self._status(service, snapshot)
        return response

    async def _watch(
        self, request: messages.HealthCheckRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> None:
        if self.count_watchers() >= self._max_watchers:
            text = f"there are {self._max_watchers} watchers already"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
        with self._watching(request.service):
            async for status in self._changes(request.service):
                writing = context.write(Response(status=status))
                try:
                    await asyncio.wait_for(writing, WRITE_TIMEOUT)
                except TimeoutError:
                    await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "message not read")

    @contextlib.contextmanager
    def _watching(self, service: str) -> Iterator[None]:
        self._watched[service] += 1
        if service not in self._statuses:  # a newer status would hide a change from other watchers
            self._statuses[service] = self._status(service, self._snapshot())
        try:
            yield
        finally:
            self._watched[service] -= 1
            if not self._watched[service]:
                del self._watched[service]
                self._statuses.pop(service, None)

    async def _changes(self, service: str) -> AsyncIterator[Status]:
        """Yield the current status, and then each different one."""
        last = None
        while True:
            changed = self._changed
            status = self._statuses[service]
            if status == last:
                if self._is_closing:
                    return
                await changed.wait()
                continue
            last = status
            yield status
            await asyncio.sleep(MIN_INTERVAL)

    def _handler(self) -> grpc.GenericRpcHandler:
        request, to_bytes = messages.HealthCheckRequest.FromString, _to_bytes
        unary, streamed = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Check": unary(self._check, request, to_bytes),
                "List": unary(self._list, messages.HealthListRequest.FromString, to_bytes),
                "Watch": streamed(self._watch, request, to_bytes),
            },
        )


def _address(host: str | None, port: int) -> str:
    bare = (host or "::").strip("[]")
    bare = "::" if bare == "*" else bare
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def _to_bytes(message: Any) -> bytes:
    encoded: bytes = message.SerializeToString()
    return encoded
