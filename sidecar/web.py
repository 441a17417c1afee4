"""The endpoints: what the kubelet, Prometheus and people ask, answered from memory."""

import asyncio
import errno
import json
import logging
import os
import resource
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Any, NoReturn

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawRequestMessage
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

from sidecar import page
from sidecar.health.verdict import Judge, Verdict

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

OPENMETRICS = "application/openmetrics-text"

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Server": "inference-health-sidecar",
}


# Several times what a node with its kubelet and a crowd of scrapers needs, and
# far below the limit of descriptors that containers have.
MOST_CONNECTIONS = 4096


class CannotListen(Exception):
    """The address cannot be listened on; the message says which and why."""


def listen(host: str | None, port: int) -> socket.socket:
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


async def serve(app: web.Application, listener: socket.socket) -> web.AppRunner:
    """Starts to answer on the socket; the runner's cleanup() ends it."""
    logging.getLogger("aiohttp.server").addFilter(_is_our_fault)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1, keepalive_timeout=20)
    await runner.setup()
    if runner.server is not None:
        runner.server.request_factory = _expecting_nothing(runner.server.request_factory)
    await web.SockSite(runner, listener).start()
    return runner


async def make_room(runner: web.AppRunner, most: int = MOST_CONNECTIONS) -> NoReturn:
    """Closes the oldest connections while there are more than so many, until cancelled.

    The kubelet's is the newest, and Prometheus opens another one where its own
    was closed; who stays is whoever holds connections open.
    """
    while True:
        if runner.server is not None:
            for connection in runner.server.connections[:-most]:
                connection.force_close()
        await asyncio.sleep(1)


def _expecting_nothing(make_request: Callable[..., web.BaseRequest]) -> Callable[..., Any]:
    """Leaves the header Expect unheard, as RFC 9110 (10.1.1) allows: no body is read here.

    aiohttp would quote an unknown expectation back, and fails where that is no UTF-8.
    """

    def make(message: RawRequestMessage, *rest: Any) -> web.BaseRequest:
        if hdrs.EXPECT in message.headers:
            headers = message.headers.copy()
            headers.popall(hdrs.EXPECT)
            message = message._replace(headers=type(message.headers)(headers))
        return make_request(message, *rest)

    return make


def _is_our_fault(record: logging.LogRecord) -> bool:
    """Whether an error is worth a log record; a request that is no HTTP was answered with 400."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)


def build_app(
    judges: Mapping[str, Judge],
    status: Callable[[], Callable[[], bytes]],
    registry: CollectorRegistry,
) -> web.Application:
    """The application.

    `judges` gives for each endpoint's name a function from the names of the
    checks to leave out to a verdict. `status` takes hold of this moment and
    gives what makes the document of /status of it, in whatever thread.
    """
    app = web.Application()
    app.router.add_get("/", _page())
    for endpoint, judge in judges.items():
        app.router.add_get(f"/{endpoint}", _probe(endpoint, judge))
    app.router.add_get("/readyz/{check:.+}", _one_check("readyz", judges["readyz"]))
    # The two that take long do not take turns with the loop at once.
    one_at_a_time = asyncio.Lock()
    app.router.add_get("/metrics", _metrics(one_at_a_time, registry))
    app.router.add_get("/status", _status(one_at_a_time, status))
    app.on_response_prepare.append(_add_headers)
    return app


def _probe(endpoint: str, judge: Judge) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        exclude = request.query.getall("exclude", [])
        verdict = judge(exclude)
        unmatched: Collection[str] = ()
        if exclude:
            unmatched = sorted(set(exclude) - {finding.name for finding in verdict.findings})
        return _answer(endpoint, verdict, "verbose" in request.query, unmatched)

    return handle


def _one_check(endpoint: str, judge: Judge) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        name = request.match_info["check"]
        for finding in judge(()).findings:
            if finding.name == name:
                verdict = Verdict(finding.passing, partial(tuple, (finding,)))
                return _answer(endpoint, verdict, "verbose" in request.query)
        raise web.HTTPNotFound

    return handle


def _answer(
    endpoint: str, verdict: Verdict, verbose: bool, unmatched: Collection[str] = ()
) -> web.Response:
    if verdict.passing and not verbose:
        return web.Response(text="ok")
    warnings = []
    if unmatched:
        names = ", ".join(json.dumps(name) for name in unmatched)
        warnings.append(f"warn: some health checks cannot be excluded: no matches for {names}")
    text = verdict.report(endpoint, *warnings)
    return web.Response(text=text, status=200 if verdict.passing else 503)


def _one_for_all(
    one_at_a_time: asyncio.Lock, make: Callable[[str], Callable[[], bytes]]
) -> Callable[[str], Awaitable[bytes]]:
    """What is long in the making, made in a thread, one at a time, for all who wait for it.

    With thousands of models it takes a second, in which the kubelet must be
    heard. `make` is called in the loop and gives what is called in the thread.
    """
    coming: dict[str, asyncio.Task[bytes]] = {}

    async def produce(wanted: str) -> bytes:
        async with one_at_a_time:
            # Whoever asks from now on wants to know of what happens from now on.
            del coming[wanted]
            return await asyncio.to_thread(make(wanted))

    async def give(wanted: str) -> bytes:
        if wanted not in coming:
            coming[wanted] = asyncio.create_task(produce(wanted))
        # The one who goes away takes it from nobody.
        return await asyncio.shield(coming[wanted])

    return give


def _metrics(one_at_a_time: asyncio.Lock, registry: CollectorRegistry) -> Handler:
    def make(wanted: str) -> Callable[[], bytes]:
        encode, _ = choose_encoder(wanted)
        return partial(encode, registry)

    give = _one_for_all(one_at_a_time, make)

    async def handle(request: web.Request) -> web.Response:
        # Which versions and escapings else are asked for is left aside: the names
        # here need neither, and an odd one would be an error of the library.
        accepted = OPENMETRICS in request.headers.get("Accept", "")
        wanted = f"{OPENMETRICS}; version=1.0.0" if accepted else ""
        body = await give(wanted)
        _, content_type = choose_encoder(wanted)
        return web.Response(body=body, headers={"Content-Type": content_type})

    return handle


def _status(one_at_a_time: asyncio.Lock, status: Callable[[], Callable[[], bytes]]) -> Handler:
    give = _one_for_all(one_at_a_time, lambda _: status())

    async def handle(request: web.Request) -> web.Response:
        body = await give("")
        return web.Response(body=body, content_type="application/json", charset="utf-8")

    return handle


def _page() -> Handler:
    body, headers = page.load()

    async def handle(request: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    return handle


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
