"""Whatever a server does ends in one of the reasons, over real gRPC."""

import asyncio
import contextlib
import socket
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from sidecar.client.health import HealthClient
from sidecar.core.checks import SERVER_LIVE, SERVER_READY, Check, Observation, model_ready
from sidecar.core.target import Target
from sidecar.demo.server import Refusal, Silence, ToyServer
from sidecar.oip import SERVICE
from sidecar.probes.channel import MAX_DETAIL, Connection, Found
from sidecar.probes.health import ServerLiveProbe
from sidecar.probes.prober import Prober, SwappableProber
from tests.faults.proxy import Proxy
from tests.peer import Peer
from tests.support import free_port

MODEL = model_ready("m")
CHECKS = [SERVER_LIVE, SERVER_READY, MODEL]
Code = grpc.StatusCode


@contextlib.asynccontextmanager
async def probing(url: str, deadline: float = 2, **options: Any) -> AsyncIterator[Prober]:
    """A prober of a server, closed at the end."""
    options.setdefault("service", SERVICE)
    target = Target(url, timeout=deadline, recovery_period=1, **options)
    prober = Prober(target, time.monotonic)
    yield prober
    await prober.close()


def at(port: int) -> str:
    return f"127.0.0.1:{port}"


async def ask(port: int, check: Check, deadline: float = 2, **options: Any) -> Observation:
    async with probing(at(port), deadline, **options) as prober:
        return await prober.ask(check, deadline)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(("reply", "word"), [(True, "ok"), (False, "not_ready")])
async def test_true_and_false_are_ok_and_not_ready(check, reply, word):
    async with ToyServer({"m": reply}) as server:
        server.live = server.ready = reply
        seen = await ask(server.port, check)
    assert (seen.check, seen.reason, seen.detail) == (check, word, "")


async def test_an_unknown_model_is_not_found():
    async with ToyServer() as server:
        assert (await ask(server.port, MODEL)).reason == "model_not_found"


async def test_the_version_is_asked_for():
    async with ToyServer({"m": True, "m:2": False}) as server:
        checks = [MODEL, model_ready("m", "2"), model_ready("m", "3")]
        answers = [(await ask(server.port, check)).reason for check in checks]
    assert answers == ["ok", "not_ready", "model_not_found"]


async def test_a_server_that_is_not_there_is_unreachable_at_once():
    seen = await ask(free_port(), SERVER_LIVE)
    assert (seen.reason, seen.duration < 2) == ("unreachable", True)
    assert seen.detail.startswith("UNAVAILABLE: ")


async def test_no_answer_before_the_deadline_is_a_timeout():
    async with ToyServer({"m": Silence()}) as server:
        seen = await ask(server.port, MODEL, deadline=0.05)
    assert seen.reason == "timeout"
    assert 0.04 < seen.duration < 5


async def test_another_service_is_unimplemented():
    async with ToyServer(service="some.other.Service") as server:
        assert (await ask(server.port, SERVER_LIVE)).reason == "unimplemented"


async def test_the_services_name_can_be_another():
    async with ToyServer(service="org.pytorch.serve.grpc.openinference.X") as server:
        seen = await ask(server.port, SERVER_LIVE, service="org.pytorch.serve.grpc.openinference.X")
    assert seen.reason == "ok"


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"\x08", b"not protobuf at all"])
async def test_a_reply_that_cannot_be_parsed_is_an_error(garbage):
    async with ToyServer({"m": garbage}) as server:
        seen = await ask(server.port, MODEL)
    assert seen.reason == "error"
    assert "cannot be parsed" in seen.detail


async def test_a_reply_that_is_far_too_large_is_an_error():
    async with ToyServer({"m": bytes(200_000)}) as server:
        assert (await ask(server.port, MODEL)).reason == "error"


async def test_a_model_name_of_20_kilobytes_is_answered():
    name = "x" * 20_000
    async with ToyServer({name: True}) as server:
        assert (await ask(server.port, model_ready(name))).reason == "ok"
        unknown = await ask(server.port, model_ready("y" * 20_000))
    assert unknown.reason == "model_not_found"


async def test_the_servers_own_text_is_kept_short():
    async with ToyServer({"m": Refusal(Code.INTERNAL, "x" * 5000)}) as server:
        seen = await ask(server.port, MODEL)
    assert len(seen.detail) == MAX_DETAIL


async def test_headers_are_sent_with_every_question():
    heard = []

    class Listening(grpc.aio.ServerInterceptor):
        async def intercept_service(self, continuation, details):
            heard.append(dict(details.invocation_metadata))
            return await continuation(details)

    server = grpc.aio.server(interceptors=[Listening()])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await ask(port, SERVER_LIVE, headers={"x-tenant": "7"})
    await server.stop(None)
    assert [metadata["x-tenant"] for metadata in heard] == ["7"]
    assert heard[0]["user-agent"].startswith("inference-health-sidecar/")


@pytest.mark.parametrize(
    ("sends", "word"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "unimplemented"),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n", "unimplemented"),
        # Fewer bytes than a frame's header: gRPC waits for the rest.
        (b"220 x\r\n", "timeout"),
        (b"", "unreachable"),
    ],
)
async def test_a_port_that_speaks_another_protocol(sends, word):
    with Peer(sends=sends, closes=word != "timeout") as peer:
        assert (await ask(peer.port, SERVER_LIVE, deadline=0.5)).reason == word


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (Code.RESOURCE_EXHAUSTED, "busy"),
        (Code.CANCELLED, "rejected"),
        (Code.ABORTED, "rejected"),
        (Code.FAILED_PRECONDITION, "rejected"),
        (Code.OUT_OF_RANGE, "rejected"),
        (Code.UNAVAILABLE, "rejected"),
        (Code.INTERNAL, "error"),
        (Code.UNKNOWN, "error"),
        (Code.DATA_LOSS, "error"),
    ],
)
async def test_what_the_server_itself_refuses(code, word):
    async with ToyServer() as server:
        server.live = Refusal(code, "the model pool is warming up")
        assert (await ask(server.port, SERVER_LIVE)).reason == word


@pytest.mark.parametrize("size", [20_000, 500_000])
async def test_a_long_text_does_not_hide_its_code(size):
    async with ToyServer({"m": Refusal(Code.NOT_FOUND, "x" * size)}) as server:
        seen = await ask(server.port, MODEL)
    assert (seen.reason, seen.detail[:20]) == ("model_not_found", "NOT_FOUND: xxxxxxxxx")


async def test_a_reply_without_a_message_is_an_error():
    async def nothing(_request, _context):
        return
        yield

    server = grpc.aio.server()
    handlers: dict[str, Any] = {"ServerLive": grpc.unary_stream_rpc_method_handler(nothing)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    seen = await ask(port, SERVER_LIVE)
    await server.stop(None)
    assert (seen.reason, "no message" in seen.detail) == ("error", True)


async def test_tls_that_speaks_another_protocol_is_unimplemented(pki):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.cert, pki.key)  # it chooses no protocol by ALPN

    async def answer(_, writer):
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        prober = prober_of(f"localhost:{port}", ca=pki.ca)
        assert await words(prober, times=3) == {"unimplemented": 3}


async def test_an_unavailable_server_is_asked_once():
    async with ToyServer() as server:
        server.live = Refusal(Code.UNAVAILABLE, "not now")
        await ask(server.port, SERVER_LIVE)
        assert server.asked["ServerLive"] == 1


async def test_a_server_that_closes_its_connections_by_goaway_loses_no_question():
    options = [("grpc.max_connection_age_ms", 100), ("grpc.max_connection_age_grace_ms", 1000)]
    server = ToyServer({"m": True})
    await server.start(options=options)
    answers: Counter[str] = Counter()
    ends = time.monotonic() + 3
    async with probing(at(server.port)) as prober:
        while time.monotonic() < ends:
            asked = (prober.ask(MODEL, 2) for _ in range(8))
            answers.update(seen.reason for seen in await asyncio.gather(*asked))
    await server.stop()
    assert list(answers) == ["ok"]


# A server on one address of two; gRPC's own text names the last address that it tried.
TWO = "ipv4:127.0.0.1:{port},127.0.0.2:{port}", "ipv4:127.0.0.2:{port},127.0.0.1:{port}"


def prober_of(url: str, timeout: float = 1, ca: Path | None = None) -> Prober:
    root = None if ca is None else ca.read_bytes()
    target = Target(
        url, SERVICE, timeout, recovery_period=1, tls=ca is not None, root_certificates=root
    )
    return Prober(target, time.monotonic)


async def words(prober: Prober, times: int = 10, deadline: float = 1) -> Counter[str]:
    """What the prober finds, asking again and again."""
    found = Counter([str((await prober.ask(SERVER_LIVE, deadline)).reason) for _ in range(times)])
    await prober.close()
    return found


@pytest.mark.parametrize("url", [*TWO, "localhost:{port}", "dns:///localhost:{port}"])
async def test_a_failure_that_proves_life_at_one_address_counts(url, pki, other_pki):
    server = ToyServer()
    await server.start(creds=pki.server_credentials())
    prober = prober_of(url.format(port=server.port), ca=other_pki.ca)
    assert await words(prober) == {"tls": 10}
    await server.stop()


@pytest.mark.parametrize("url", [*TWO, "localhost:{port}"])
async def test_another_protocol_at_one_address_counts(url):
    sends = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
    with Peer(sends=sends, closes=True) as peer:
        assert await words(prober_of(url.format(port=peer.port))) == {"unimplemented": 10}


@pytest.mark.parametrize("url", TWO)
async def test_silence_at_one_address_is_a_timeout_not_a_server_that_is_gone(url):
    with Peer() as peer:
        prober = prober_of(url.format(port=peer.port), timeout=0.3)
        assert await words(prober, times=3, deadline=0.3) == {"timeout": 3}


@pytest.mark.parametrize("url", [*TWO, "localhost:{port}", "127.0.0.1:{port}"])
async def test_a_server_that_is_at_no_address_is_unreachable(url):
    assert await words(prober_of(url.format(port=free_port()))) == {"unreachable": 10}


async def test_a_certificate_must_be_for_the_name_whichever_address_is_asked(pki):
    server = ToyServer()
    await server.start(creds=pki.server_credentials())
    connection = Connection(
        Target(
            f"localhost:{server.port}",
            SERVICE,
            timeout=2,
            recovery_period=1,
            root_certificates=pki.ca.read_bytes(),
            tls=True,
        )
    )
    # Over a channel of its own for the address, as when gRPC could not connect.
    (client,) = await connection.by_address()
    assert await client.is_server_live(timeout=2)
    await client.close()
    await connection.close()
    await server.stop()


async def ask_nobody(by_address: Callable[[], Awaitable[list[HealthClient]]]) -> Found:
    """What comes of asking a port where nobody listens, with this look-up of addresses."""

    class Looked(Connection):
        async def by_address(self) -> list[HealthClient]:
            return await by_address()

    connection = Looked(Target(at(free_port()), SERVICE, timeout=0.4, recovery_period=1))
    found = await ServerLiveProbe(connection).ask(SERVER_LIVE, 0.4)
    await connection.close()
    return found


async def test_a_slow_look_up_hides_no_refusal():
    hung = asyncio.Event()

    async def by_address():
        await hung.wait()

    started = time.monotonic()
    answer, _ = await ask_nobody(by_address)
    assert (answer, time.monotonic() - started <= 0.5) == ("unreachable", True)


async def test_addresses_that_are_known_too_late_are_not_asked():
    async def by_address():
        await asyncio.sleep(0.35)
        pytest.fail("nobody waits for it any more")

    assert (await ask_nobody(by_address))[0] == "unreachable"


async def test_a_question_that_is_sent_while_its_prober_is_replaced_goes_to_the_next():
    async with ToyServer() as server:
        link = SwappableProber(prober_of(at(free_port())))
        asking = asyncio.create_task(link.ask(SERVER_LIVE, 2))
        after = prober_of(at(server.port))
        replacing = asyncio.create_task(link.replace(after, other_server=False))
        await asyncio.gather(asking, replacing)
        await link.close()
    assert asking.result().reason in ("ok", "unreachable")


async def test_a_name_that_cannot_be_looked_up_is_unreachable():
    prober = prober_of("dns:///nowhere.invalid:80")
    assert await words(prober, times=2) == {"unreachable": 2}


async def test_a_question_under_way_is_answered_when_its_prober_is_closed():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        prober = prober_of(at(silent.getsockname()[1]), timeout=0.2)
        asking = asyncio.create_task(prober.ask(SERVER_LIVE, 0.2))
        connection, _ = await asyncio.get_running_loop().sock_accept(silent)
        with connection:
            await prober.close()
            assert (await asking).reason == "timeout"


async def test_a_peer_that_accepts_and_never_speaks_costs_no_more_than_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        seen = await ask(silent.getsockname()[1], SERVER_LIVE, deadline=0.2)
    assert seen.reason == "timeout"
    assert seen.duration < 5


async def test_a_proxy_in_the_environment_is_not_asked(monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("grpc_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    async with ToyServer() as server:
        assert (await ask(server.port, SERVER_LIVE)).reason == "ok"


async def ask_tls(
    *, url: str, server_credentials=None, ca=None, server_name=None, **options
) -> str:
    """The word for ServerLive, asked of a server that speaks TLS, or not, by a client that does."""
    server = ToyServer()
    await server.start(creds=server_credentials)
    if ca is not None:
        options["root_certificates"] = ca.read_bytes()
    async with probing(url.format(port=server.port), server_name=server_name, **options) as prober:
        seen = await prober.ask(SERVER_LIVE, 2)
    await server.stop()
    return f"{seen.reason}"


async def test_tls_that_fits_is_ok(pki):
    creds = pki.server_credentials()
    url = "grpcs://localhost:{port}"
    assert await ask_tls(url=url, server_credentials=creds, ca=pki.ca) == "ok"


async def test_an_authority_that_is_not_trusted_is_tls(pki, other_pki):
    creds = pki.server_credentials()
    url = "grpcs://localhost:{port}"
    assert await ask_tls(url=url, server_credentials=creds, ca=other_pki.ca) == "tls"


@pytest.mark.parametrize(("name", "word"), [("localhost", "ok"), ("other.example", "tls")])
async def test_a_certificate_must_be_for_the_name_that_is_expected(pki, name, word):
    creds = pki.server_credentials()
    url = "grpcs://127.0.0.1:{port}"
    asked = ask_tls(url=url, server_credentials=creds, ca=pki.ca, server_name=name)
    assert await asked == word


async def test_tls_spoken_to_a_plaintext_port_is_tls(pki):
    assert await ask_tls(url="grpcs://localhost:{port}", ca=pki.ca) == "tls"


async def test_plaintext_spoken_to_a_tls_port_is_unreachable(pki):
    """All that can be seen is that the server closes the connection."""
    creds = pki.server_credentials()
    assert await ask_tls(url="localhost:{port}", server_credentials=creds) == "unreachable"


async def test_a_missing_client_certificate_ends_in_a_word(pki):
    creds = pki.server_credentials(mutual=True)
    url = "grpcs://localhost:{port}"
    word = await ask_tls(url=url, server_credentials=creds, ca=pki.ca)
    assert word in ("unreachable", "tls")


async def test_a_connection_along_which_the_server_was_silent_twice_is_given_up():
    async with ToyServer() as server:
        with Proxy(server.port) as proxy:
            async with probing(at(proxy.port), deadline=0.3) as prober:
                words = [(await prober.ask(SERVER_LIVE, 0.3)).reason]
                proxy.heal(forget=True)
                words += [(await prober.ask(SERVER_LIVE, 0.3)).reason for _ in range(3)]
    assert words == ["ok", "timeout", "timeout", "ok"]
