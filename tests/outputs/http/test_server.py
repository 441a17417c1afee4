"""The port: what it is bound to, and who may stay on it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from sidecar.outputs.http.server import CannotListen, HttpServer, address, bind
from tests.support import eventually, untyped

REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
MUCH = b"GET /much HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
BODY = bytes(30_000_000)  # more than the buffers of both ends

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def listening(
    **limits: float,
) -> AsyncIterator[tuple[HttpServer, Callable[[bytes], Awaitable[Connection]]]]:
    """A server that is tended, and what opens a connection to it and sends the beginning."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def answer_much(_: web.Request) -> web.Response:
        return web.Response(body=BODY)

    app = web.Application()
    app.router.add_get("/", answer)
    app.router.add_get("/much", answer_much)
    server, bound = HttpServer(app, **untyped(limits)), bind("127.0.0.1", 0)
    await server.start(bound)
    opened = []

    async def connect(sent: bytes) -> Connection:
        reader, writer = await asyncio.open_connection(*bound.getsockname())
        writer.write(sent)
        opened.append(writer)
        if sent == REQUEST:
            await reader.readuntil(b"\r\n\r\nok")  # by then all before it have been accepted
        return reader, writer

    try:
        yield server, connect
    finally:
        for writer in opened:
            writer.close()
        await server.close()


async def test_of_too_many_connections_the_oldest_give_way():
    async with listening(most=3) as (server, connect):
        held = [await connect(sent) for sent in (b"GET", REQUEST, b"GET", b"GET", REQUEST)]
        tending = asyncio.create_task(server.tend())
        for reader, _ in held[:2]:
            assert await asyncio.wait_for(reader.read(), 5) == b""
        assert len(server.connections) == 3
        reader, writer = held[2]
        writer.write(REQUEST.removeprefix(b"GET"))
        assert await asyncio.wait_for(reader.readuntil(b"ok"), 5)
        tending.cancel()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: h\r\n", REQUEST])
async def test_a_connection_that_asks_nothing_for_too_long_is_closed(sent):
    async with listening(patience=0.2) as (server, connect):
        reader, _ = await connect(sent)
        tending = asyncio.create_task(server.tend())
        assert await asyncio.wait_for(reader.read(), 5) == b""
        tending.cancel()


def unread(connection):
    return connection.transport.get_write_buffer_size() > 0


async def test_of_too_many_who_do_not_read_the_oldest_give_way():
    async with listening(readers=1) as (server, connect):
        held = [await connect(MUCH) for _ in range(3)]
        await eventually(lambda: [unread(c) for c in server.connections] == [True] * 3)
        tending = asyncio.create_task(server.tend())
        for reader, _ in held[:2]:
            with contextlib.suppress(ConnectionResetError):
                assert len(await asyncio.wait_for(reader.read(), 5)) < len(BODY)
        assert (await asyncio.wait_for(held[2][0].read(), 5)).endswith(BODY)
        tending.cancel()


async def test_who_does_not_read_for_too_long_is_closed():
    async with listening(patience=0.2) as (server, connect):
        await connect(MUCH)
        tending = asyncio.create_task(server.tend())
        await eventually(lambda: [unread(c) for c in server.connections] == [True])
        await eventually(lambda: not server.connections)
        tending.cancel()


async def test_a_connection_that_goes_on_asking_stays():
    async with listening(patience=0.2) as (server, connect):
        tending = asyncio.create_task(server.tend())
        silent, _ = await connect(b"GET")
        reader, writer = await connect(REQUEST)

        async def ask_on() -> None:
            while True:
                writer.write(REQUEST)
                await reader.readuntil(b"\r\n\r\nok")

        asking = asyncio.create_task(ask_on())
        assert await asyncio.wait_for(silent.read(), 5) == b""
        assert not asking.done()
        asking.cancel()
        tending.cancel()


ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="without IPv6 here")


def answers(address: str, port: int) -> bool:
    """Whether anything listens there."""
    with contextlib.suppress(ConnectionRefusedError):
        socket.create_connection((address, port), timeout=5).close()
        return True
    return False


@ipv6
@pytest.mark.parametrize(
    ("host", "families", "told"),
    [
        (None, (True, True), ":: (IPv4 and IPv6)"),
        ("::", (True, True), ":: (IPv4 and IPv6)"),
        ("[::]", (True, True), ":: (IPv4 and IPv6)"),
        ("*", (True, True), ":: (IPv4 and IPv6)"),
        ("0:0:0:0:0:0:0:0", (True, True), ":: (IPv4 and IPv6)"),
        ("0.0.0.0", (True, False), "0.0.0.0 (IPv4 only)"),
        ("127.0.0.1", (True, False), "127.0.0.1"),
        ("::1", (False, True), "::1"),
        ("[::1]", (False, True), "::1"),
    ],
)
def test_a_host_says_which_families_are_listened_on(host, families, told):
    with bind(host, 0) as bound:
        port = bound.getsockname()[1]
        assert (answers("127.0.0.1", port), answers("::1", port)) == families
        assert address(bound) == told


@ipv6
def test_a_socket_for_ipv6_alone_is_told_as_such():
    with socket.create_server(("::", 0), family=socket.AF_INET6) as bound:
        assert address(bound) == ":: (IPv6 only)"


@pytest.mark.parametrize("host", [None, "::", "*"])
def test_without_ipv6_it_is_ipv4_alone(monkeypatch, host):
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with bind(host, 0) as bound:
        assert bound.family is socket.AF_INET
        assert address(bound) == "0.0.0.0 (IPv4 only)"


@pytest.fixture
def taken() -> Iterator[int]:
    with bind("127.0.0.1", 0) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("host", [None, "127.0.0.1"])
def test_a_taken_port_is_named(taken, host):
    where = host or "all interfaces"
    with pytest.raises(CannotListen, match=f"{where}, port {taken}: Address already in use"):
        bind(host, taken)


@pytest.mark.parametrize("host", ["a..b", "x" * 70])
def test_a_host_that_can_be_no_name_is_named(host):
    with pytest.raises(CannotListen, match=f"cannot listen on {host}, port 0: not a host name"):
        bind(host, 0)


def test_a_host_that_is_not_ours_is_named():
    with pytest.raises(CannotListen, match=r"cannot listen on host\.invalid, port 0: "):
        bind("host.invalid", 0)
