"""The port: who is let in, how many at once, and for how long."""

import asyncio
import errno
import logging
import os
import resource
import socket
from typing import Any, NoReturn

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

# Several times what a node with its kubelet and a crowd of scrapers needs, and
# far below the limit of descriptors that containers have.
MOST_CONNECTIONS = 4096

# Seconds that a connection may be silent: before its first request, and between two.
PATIENCE = 20


class CannotListen(Exception):
    """The address cannot be listened on; the message says which and why."""


def bind(host: str | None, port: int) -> socket.socket:
    """A listening socket, on all interfaces and both families unless a host is given."""
    try:
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


def allow_many_connections() -> None:
    """Raises this process's limit of open files as far as it may itself.

    Each idle connection holds a descriptor, and without one left the kubelet
    would not be heard. The soft limit is often 1024 where the hard one is far
    above.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Listener:
    """An application on its port.

    most:      how many connections may be open; of more the oldest are closed.
    patience:  seconds within which a connection has to ask something.
    """

    def __init__(
        self, app: web.Application, *, most: int = MOST_CONNECTIONS, patience: float = PATIENCE
    ) -> None:
        self._most = most
        self._patience = patience
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=1, keepalive_timeout=patience
        )
        self._first_seen: dict[RequestHandler, float] = {}
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
            self._first_seen = {one: self._first_seen.get(one, now) for one in connections}
            for connection in connections[: -self._most]:
                connection.force_close()
            for connection, since in self._first_seen.items():
                if connection not in self._heard and now - since > self._patience:
                    connection.force_close()
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

        The header Expect is left unheard, as RFC 9110 (10.1.1) allows: no body
        is read here, and aiohttp would quote an unknown expectation back, and
        fail where that is no UTF-8.
        """
        self._heard.add(protocol)
        if hdrs.EXPECT in message.headers:
            headers = message.headers.copy()
            headers.popall(hdrs.EXPECT)
            message = message._replace(headers=type(message.headers)(headers))
        return self._make_request(message, payload, protocol, *rest)


def _is_our_fault(record: logging.LogRecord) -> bool:
    """Whether an error is worth a log record; a request that is no HTTP was answered with 400."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)
