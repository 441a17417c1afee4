"""The port: how many connections it accepts, and for how long."""

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
# far below the limit of descriptors that containers have.
MOST_CONNECTIONS = 4096

# For all else that is open: the server's connection, files, and what comes between two looks.
SPARE_FILES = 1024

# Connections whose client has not read the response yet. Each holds a copy of it, and
# /status of a thousand models has a third of a megabyte.
MOST_READERS = 16

# Seconds that a connection may be silent: before its first request, between two, and
# before it has read the answer.
PATIENCE = 20

# Seconds that an answer in the making has at the end, and once more when it is cancelled.
SHUTDOWN = 0.25


class CannotListen(Exception):
    """The address cannot be listened on; the message says which and why."""


def bind(host: str | None, port: int) -> socket.socket:
    """A listening socket, on all interfaces and both families unless one host is given.

    Without IPv6 on this machine all interfaces have IPv4 alone.
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
        # socket.create_server puts the address into the error's own text as well.
        known = error.errno in errno.errorcode
        reason = os.strerror(error.errno or 0) if known else error.strerror
        raise CannotListen(f"cannot listen on {where}: {reason}") from error


def address(bound: socket.socket) -> str:
    """What a socket listens on; of all interfaces the families as well."""
    host: str = bound.getsockname()[0]
    if host == "::":
        only_ipv6 = bound.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
        return ":: (IPv6 only)" if only_ipv6 else ":: (IPv4 and IPv6)"
    return "0.0.0.0 (IPv4 only)" if host == "0.0.0.0" else host  # noqa: S104 # compared


def _one_of(host: str | None) -> str | None:
    """The host, an IPv6 address without brackets; None for all interfaces and both families."""
    if host is None or host == "*":
        return None
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    with contextlib.suppress(ValueError):
        if ipaddress.IPv6Address(bare).is_unspecified:
            return None
    return bare


def allow_many_connections() -> None:
    """Raises this process's limit of open files as far as connections need it, if it may.

    Each idle connection holds a descriptor, and without one left the kubelet
    would not be answered. The soft limit is often 1024 where the hard one is far
    above; macOS takes its own hard limit for an error.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class HttpServer:
    """An application on its port.

    most:      how many connections may be open; of more the oldest are closed.
    readers:   the same of those that have not read their answer.
    patience:  seconds within which a connection has to ask something, and to read.
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
        """Answers from now on."""
        logging.getLogger("aiohttp.server").addFilter(_is_our_fault)
        await self._runner.setup()
        assert self._runner.server is not None
        self._make_request = self._runner.server.request_factory
        self._runner.server.request_factory = self._hear
        await web.SockSite(self._runner, bound).start()

    async def tend(self) -> NoReturn:
        """Closes, each second until cancelled, the connections that take others' place.

        The kubelet's is the newest and asks at once, and Prometheus opens
        another one where its own was closed. aiohttp itself closes those that
        have asked before and are silent since.
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
                # What has not been read yet would hold up an orderly end.
                if connection.transport is not None:
                    connection.transport.abort()
            await asyncio.sleep(1)

    @property
    def connections(self) -> list[RequestHandler]:
        """Those that are open, the oldest first."""
        return self._runner.server.connections if self._runner.server else []

    async def close(self) -> None:
        """Ends it, the connections included."""
        await self._runner.cleanup()

    def _hear(
        self, message: RawRequestMessage, payload: Any, protocol: RequestHandler, *rest: Any
    ) -> web.BaseRequest:
        """Makes aiohttp's request of the message.

        The header Expect is ignored, as RFC 9110 (10.1.1) allows: no body
        is read here, and aiohttp would quote an unknown expectation back, and
        fail where that is no UTF-8.
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
    """Whether an error is worth a log record; a request that is no HTTP was answered with 400."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)
