"""Whatever a server does ends in one of the ten words, over real gRPC."""

import asyncio
import socket
import time

import grpc
import pytest

from sidecar.client import InferenceGRPCClient
from sidecar.demo import Refusal, Silence, ToyServer
from sidecar.health.checks import SERVER_LIVE, SERVER_READY, Answer, Check, Rpc
from sidecar.prober import MAX_DETAIL, Prober, channel_args, classify
from tests.faults.proxy import Proxy
from tests.support import free_port

MODEL = Check(Rpc.MODEL_READY, "m")
CHECKS = [SERVER_LIVE, SERVER_READY, MODEL]
Code = grpc.StatusCode


def prober_for(client: InferenceGRPCClient) -> Prober:
    return Prober(client, timeout=2, headers={}, clock=time.monotonic)


def client_for(port: int, *, timeout: float = 2, **options) -> InferenceGRPCClient:
    args = channel_args(timeout=timeout, recovery_period=1, server_name=None, user_agent="tests")
    return InferenceGRPCClient(f"127.0.0.1:{port}", channel_args=args, **options)


async def ask(port: int, check: Check, **options):
    async with client_for(port, **options) as client:
        return await prober_for(client).ask(check)


# What was seen on real servers (facts that prober.py names), as (rpc, code, text, word).
SEEN = [
    ("ServerLive", Code.DEADLINE_EXCEEDED, "Deadline Exceeded", "timeout"),
    ("ServerLive", Code.UNAVAILABLE, "failed to connect: Connection refused", "unreachable"),
    ("ServerLive", Code.UNAVAILABLE, "Stream removed (Socket closed)", "unreachable"),
    ("ServerLive", Code.UNAVAILABLE, "DNS resolution failed for x", "unreachable"),
    ("ServerLive", Code.UNAVAILABLE, "h: connection attempt timed out before", "timeout"),
    ("ServerLive", Code.UNAVAILABLE, "h: connect() timed out", "timeout"),
    ("ServerLive", Code.UNAVAILABLE, "h: FD Shutdown", "timeout"),
    ("ServerLive", Code.UNAVAILABLE, "Failed parsing HTTP/2", "unreachable"),
    ("ServerLive", Code.UNAVAILABLE, "Server exiting", "shutting_down"),
    ("ModelReady", Code.UNAVAILABLE, "Server not ready", "not_ready"),
    (
        "ServerLive",
        Code.UNAVAILABLE,
        "This protocol is restricted, expecting header 'triton-grpc-protocol-x'",
        "denied",
    ),
    ("ServerLive", Code.UNAUTHENTICATED, "", "denied"),
    ("ServerLive", Code.PERMISSION_DENIED, "RBAC: access denied", "denied"),
    ("ServerLive", Code.UNIMPLEMENTED, "Method not found!", "unimplemented"),
    ("ServerLive", Code.UNAVAILABLE, "... CERTIFICATE_VERIFY_FAILED ...", "tls"),
    ("ServerLive", Code.UNAVAILABLE, "Hostname Verification Check failed.", "tls"),
    ("ServerLive", Code.UNAVAILABLE, "SSL: WRONG_VERSION_NUMBER", "tls"),
    ("ServerLive", Code.UNAVAILABLE, "Failed to create security handshaker", "tls"),
    ("ModelReady", Code.NOT_FOUND, "Model with name nope does not exist.", "model_not_found"),
    (
        "ModelReady",
        Code.UNKNOWN,
        "Unexpected <class 'mlserver.errors.ModelNotFound'>: Model nope",
        "model_not_found",
    ),
    ("ServerLive", Code.NOT_FOUND, "", "error"),
    ("ServerLive", Code.UNKNOWN, "ModelNotFound", "error"),
    ("ModelReady", Code.UNKNOWN, "Unexpected ValueError", "error"),
    ("ModelReady", Code.INVALID_ARGUMENT, "version abc", "error"),
    ("ModelReady", Code.INTERNAL, "", "error"),
    ("ModelReady", Code.CANCELLED, "", "error"),
    ("ModelReady", Code.RESOURCE_EXHAUSTED, "", "error"),
]


@pytest.mark.parametrize(("rpc", "code", "text", "word"), SEEN)
def test_a_status_that_is_not_ok_has_its_word(rpc, code, text, word):
    assert classify(Rpc(rpc), code, text) == word


def test_every_word_of_the_table_but_those_of_a_reply_was_seen():
    assert {word for *_, word in SEEN} == set(Answer) - {"ok"}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(("reply", "word"), [(True, "ok"), (False, "not_ready")])
async def test_true_and_false_are_ok_and_not_ready(check, reply, word):
    async with ToyServer({"m": reply}) as server:
        server.live = server.ready = reply
        seen = await ask(server.port, check)
    assert (seen.check, seen.answer, seen.detail) == (check, word, "")


async def test_an_unknown_model_is_not_found():
    async with ToyServer() as server:
        assert (await ask(server.port, MODEL)).answer == "model_not_found"


async def test_the_version_is_asked_for():
    async with ToyServer({"m": True, "m:2": False}) as server:
        async with client_for(server.port) as client:
            checks = [MODEL, Check(Rpc.MODEL_READY, "m", "2"), Check(Rpc.MODEL_READY, "m", "3")]
            answers = [(await prober_for(client).ask(check)).answer for check in checks]
    assert answers == ["ok", "not_ready", "model_not_found"]


async def test_a_server_that_is_not_there_is_unreachable_at_once():
    seen = await ask(free_port(), SERVER_LIVE)
    assert (seen.answer, seen.took < 2) == ("unreachable", True)
    assert seen.detail.startswith("UNAVAILABLE: ")


async def test_no_answer_before_the_deadline_is_a_timeout():
    async with ToyServer({"m": Silence()}) as server:
        async with client_for(server.port) as client:
            prober = Prober(client, timeout=0.05, headers={}, clock=time.monotonic)
            seen = await prober.ask(MODEL)
    assert seen.answer == "timeout"
    assert 0.04 < seen.took < 5


async def test_another_service_is_unimplemented():
    async with ToyServer(service="some.other.Service") as server:
        assert (await ask(server.port, SERVER_LIVE)).answer == "unimplemented"


async def test_the_services_name_can_be_another():
    async with ToyServer(service="org.pytorch.serve.grpc.openinference.X") as server:
        seen = await ask(
            server.port, SERVER_LIVE, grpc_service="org.pytorch.serve.grpc.openinference.X"
        )
    assert seen.answer == "ok"


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"\x08", b"not protobuf at all"])
async def test_a_reply_that_cannot_be_parsed_is_an_error(garbage):
    async with ToyServer({"m": garbage}) as server:
        seen = await ask(server.port, MODEL)
    assert seen.answer == "error"
    assert "cannot be parsed" in seen.detail


async def test_a_reply_that_is_far_too_large_is_an_error():
    async with ToyServer({"m": bytes(200_000)}) as server:
        assert (await ask(server.port, MODEL)).answer == "error"


async def test_a_model_name_of_20_kilobytes_is_answered():
    name = "x" * 20_000
    async with ToyServer({name: True}) as server:
        assert (await ask(server.port, Check(Rpc.MODEL_READY, name))).answer == "ok"
        unknown = await ask(server.port, Check(Rpc.MODEL_READY, "y" * 20_000))
    assert unknown.answer in ("model_not_found", "error")


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
    async with client_for(port) as client:
        prober = Prober(client, timeout=2, headers={"x-tenant": "7"}, clock=time.monotonic)
        await prober.ask(SERVER_LIVE)
    await server.stop(None)
    assert [metadata["x-tenant"] for metadata in heard] == ["7"]
    assert heard[0]["user-agent"].startswith("tests ")


async def test_a_port_that_speaks_http_1_is_unreachable():
    async def answer(reader, writer):
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        seen = await ask(server.sockets[0].getsockname()[1], SERVER_LIVE)
    assert seen.answer == "unreachable"


async def test_a_question_under_way_is_answered_when_its_prober_is_closed():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = client_for(silent.getsockname()[1], timeout=0.2)
        prober = Prober(client, timeout=0.2, headers={}, clock=time.monotonic)
        asking = asyncio.create_task(prober.ask(SERVER_LIVE))
        await asyncio.sleep(0)
        await prober.close()
        assert (await asking).answer == "timeout"


async def test_a_peer_that_accepts_and_never_speaks_costs_no_more_than_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        async with client_for(silent.getsockname()[1], timeout=0.2) as client:
            prober = Prober(client, timeout=0.2, headers={}, clock=time.monotonic)
            seen = await prober.ask(SERVER_LIVE)
    assert seen.answer == "timeout"
    assert seen.took < 5


async def test_a_proxy_in_the_environment_is_not_asked(monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("grpc_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    async with ToyServer() as server:
        assert (await ask(server.port, SERVER_LIVE)).answer == "ok"


async def ask_tls(
    *, url: str, server_credentials=None, ca=None, server_name=None, **options
) -> str:
    """The word for ServerLive, asked of a server that speaks TLS, or not, by a client that does."""
    server = ToyServer()
    await server.start(creds=server_credentials)
    args = channel_args(timeout=2, recovery_period=1, server_name=server_name, user_agent="tests")
    if ca is not None:
        options["root_certificates"] = str(ca)
    async with InferenceGRPCClient(
        url.format(port=server.port), channel_args=args, **options
    ) as client:
        seen = await prober_for(client).ask(SERVER_LIVE)
    await server.stop()
    return f"{seen.answer}"


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
            async with client_for(proxy.port, timeout=0.3) as client:
                prober = Prober(client, timeout=0.3, headers={}, clock=time.monotonic)
                words = [(await prober.ask(SERVER_LIVE)).answer]
                proxy.heal(forget=True)
                words += [(await prober.ask(SERVER_LIVE)).answer for _ in range(3)]
    assert words == ["ok", "timeout", "timeout", "ok"]
