"""The HTTP server: its port, and the limits of connections and durations."""

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import resource
import socket
from typing import Any, NoReturn

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

# Several times what a kubelet and many scrapers need, and
# far below the descriptor limit of containers.
MOST_CONNECTIONS = 4096

# For other descriptors: the server's connection, files, and connections between two checks.
SPARE_FILES = 1024

# Connections whose client has not read the response yet. Each holds a copy of it, and
# /status of a thousand models is a third of a megabyte.
MOST_READERS = 16

# Seconds that a connection may be idle: before its first request, between two requests, and
# before it has read the response.
PATIENCE = 20

# Seconds for a response in progress at shutdown, and again after it is cancelled.
SHUTDOWN = 0.25


class CannotListen(Exception):
    """The address cannot be listened on; the message has the address and the cause."""


def bind(host: str | None, port: int) -> socket.socket:
    """Return a listening socket, on all interfaces and both families unless a host is given.

    If the machine has no IPv6, the socket listens on IPv4 only.
    """
    try:
        host = _one_of(host)
        if host is not None:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            family, *_, address = found[0]
            return socket.create_server(address[:2], family=family)
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except UnicodeError as error:
        raise CannotListen(f"cannot listen on {host}, port {port}: not a host name") from error
    except OSError as error:
        where = f"{host or 'all interfaces'}, port {port}"
        # The text of socket.create_server's error has the address too.
        known = error.errno in errno.errorcode
        reason = os.strerror(error.errno or 0) if known else error.strerror
        raise CannotListen(f"cannot listen on {where}: {reason}") from error


def address(bound: socket.socket) -> str:
    """Return the address of a socket; for all interfaces with the families."""
    host: str = bound.getsockname()[0]
    if host == "::":
        only_ipv6 = bound.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        return ":: (IPv6 only)" if only_ipv6 else ":: (IPv4 and IPv6)"
    return "0.0.0.0 (IPv4 only)" if host == "0.0.0.0" else host  # noqa: S104 # compared


def _one_of(host: str | None) -> str | None:
    """Return the host, IPv6 without brackets; None for all interfaces and both families."""
    if host is None or host == "*":
        return None
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    with contextlib.suppress(ValueError):
        if ipaddress.IPv6Address(bare).is_unspecified:
            return None
    return bare


def allow_many_connections() -> None:
    """Raise the process's limit of open files as far as connections need it, if allowed.

    Each idle connection uses a descriptor. Without a free one the kubelet would get
    no answer. The soft limit is often 1024, with a much higher hard limit; macOS
    rejects its own hard limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class HttpServer:
    """Serves an application on a socket.

    most:      maximum open connections; above it the oldest are closed.
    readers:   the same for connections that have not read their response.
    patience:  seconds within which a connection must send a request, and read.
    """

    def __init__(
        self,
        app: web.Application,
        *,
        most: int = MOST_CONNECTIONS,
        readers: int = MOST_READERS,
        patience: float = PATIENCE,
    ) -> None:
        self._most = most
        self._readers = readers
        self._patience = patience
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=SHUTDOWN, keepalive_timeout=patience
        )
        self._waited_for: dict[RequestHandler, float] = {}
        self._heard: set[RequestHandler] = set()

    async def start(self, bound: socket.socket) -> None:
        """Start to answer requests."""
        logging.getLogger("aiohttp.server").addFilter(_is_our_fault)
        await self._runner.setup()
        assert self._runner.server is not None
        self._make_request = self._runner.server.request_factory
        self._runner.server.request_factory = self._hear
        await web.SockSite(self._runner, bound).start()

    async def tend(self) -> NoReturn:
        """Close, every second until cancelled, connections above the limits.

        The kubelet's connection is the newest and sends its request at once, and
        Prometheus opens a new one if its own was closed. aiohttp itself closes
        connections that are idle after a request.
        """
        while True:
            now = asyncio.get_running_loop().time()
            connections = self.connections
            self._heard.intersection_update(connections)
            reading = [one for one in connections if _has_unread(one)]
            silent = [one for one in connections if one not in self._heard]
            self._waited_for = {c: self._waited_for.get(c, now) for c in (*silent, *reading)}
            late = [c for c, since in self._waited_for.items() if now - since > self._patience]
            for connection in (*connections[: -self._most], *reading[: -self._readers], *late):
                # An orderly close would wait for the client to read.
                if connection.transport is not None:
                    connection.transport.abort()
            await asyncio.sleep(1)

    @property
    def connections(self) -> list[RequestHandler]:
        """Return the open connections, oldest first."""
        return self._runner.server.connections if self._runner.server else []

    async def close(self) -> None:
        """Close the server and its connections."""
        await self._runner.cleanup()

    def _hear(
        self, message: RawRequestMessage, payload: Any, protocol: RequestHandler, *rest: Any
    ) -> web.BaseRequest:
        """Create aiohttp's request from a message.

        The header Expect is ignored, as RFC 9110 (10.1.1) allows: no body is read
        here, and aiohttp would send an unknown expectation back, and fail if it is
        not UTF-8.
        """
        self._heard.add(protocol)
        if hdrs.EXPECT in message.headers:
            headers = message.headers.copy()
            headers.popall(hdrs.EXPECT)
            message = message._replace(headers=type(message.headers)(headers))
        return self._make_request(message, payload, protocol, *rest)


def _has_unread(connection: RequestHandler) -> bool:
    transport = connection.transport
    return transport is not None and transport.get_write_buffer_size() > 0


def _is_our_fault(record: logging.LogRecord) -> bool:
    """Whether an error should be logged; an invalid HTTP request was answered with 400."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)
