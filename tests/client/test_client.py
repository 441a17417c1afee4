"""The client's calls over real gRPC: answers, errors, deadlines, TLS, several loops, logs."""

import asyncio
import logging

import grpc
import pytest

from sidecar.client import USE_CLIENT_DEFAULT, InferenceGRPCClient, InvalidInput
from sidecar.demo.server import Refusal, Silence, ToyServer
from tests.support import eventually, free_port, untyped


def client_for(server: ToyServer, **options) -> InferenceGRPCClient:
    return InferenceGRPCClient(f"127.0.0.1:{server.port}", **options)


async def test_the_three_health_calls_answer_as_the_server_does():
    async with ToyServer({"m": True, "m:2": False}) as server, client_for(server) as client:
        server.ready = False
        assert await client.is_server_live() is True
        assert await client.is_server_ready() is False
        assert await client.is_model_ready("m") is True
        assert await client.is_model_ready("m", model_version="2") is False


async def test_an_answer_that_is_not_ok_is_an_rpc_error():
    async with ToyServer() as server, client_for(server) as client:
        with pytest.raises(grpc.RpcError) as caught:
            await client.is_model_ready("m")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_reply_that_cannot_be_parsed_is_an_rpc_error():
    async with ToyServer({"m": b"\xff\xff"}) as server, client_for(server) as client:
        with pytest.raises(grpc.RpcError) as caught:
            await client.is_model_ready("m")
    assert caught.value.code() is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize(("own", "of_the_call"), [(0.05, USE_CLIENT_DEFAULT), (60, 0.05)])
async def test_the_calls_own_timeout_wins_over_the_clients(own, of_the_call):
    async with ToyServer({"m": Silence()}) as server, client_for(server, timeout=own) as client:
        with pytest.raises(grpc.RpcError) as caught:
            await client.is_model_ready("m", of_the_call)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_without_a_timeout_a_call_waits_until_it_is_cancelled():
    async with ToyServer({"m": Silence()}) as server, client_for(server, timeout=0.05) as client:
        call = asyncio.create_task(client.is_model_ready("m", timeout=None))
        await eventually(lambda: server.asked["ModelReady"])
        done, _ = await asyncio.wait({call}, timeout=0.2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert not done


async def test_bad_headers_are_refused_and_nothing_is_sent():
    async with ToyServer() as server, client_for(server) as client:
        with pytest.raises(InvalidInput):
            await client.is_server_live(headers=[("Upper", "x")])
    assert not server.asked


async def test_unavailable_is_retried_by_default_and_not_without_retries():
    async with ToyServer() as server:
        server.live = Refusal(grpc.StatusCode.UNAVAILABLE)
        calls = []
        for retries in (3, 2, 1, 0, None):
            before = server.asked["ServerLive"]
            async with client_for(server, retries=retries) as client:
                with pytest.raises(grpc.RpcError):
                    await client.is_server_live()
            calls.append(server.asked["ServerLive"] - before)
    assert calls == [3, 2, 1, 1, 1]


@pytest.mark.parametrize("retries", [3, 0, None])
async def test_calls_pass_the_graceful_end_of_a_connection(retries):
    server = ToyServer()
    # A connection ends with a GOAWAY after so many milliseconds, and its calls get a second.
    age = [("grpc.max_connection_age_ms", 20), ("grpc.max_connection_age_grace_ms", 1000)]
    await server.start(options=age)
    lost, connections = [], 0
    async with client_for(server, retries=retries) as client:

        async def ask() -> None:
            while connections < 20:
                try:
                    assert await client.is_server_live()
                except grpc.RpcError as error:
                    lost.append(error)

        async def count() -> None:
            nonlocal connections
            while connections < 20:
                connections += await client.wait_changed()

        await asyncio.gather(count(), *(ask() for _ in range(16)))
    await server.stop()
    assert lost == []


@pytest.mark.parametrize("size", [20_000, 64 * 2**10, 2**20])
@pytest.mark.parametrize("letter", ["x", "\u20ac"])
async def test_a_long_status_text_keeps_its_code(size, letter):
    text = letter * (size // len(letter.encode()))
    async with ToyServer({"m": Refusal(grpc.StatusCode.NOT_FOUND, text)}) as server:
        async with client_for(server) as client:
            with pytest.raises(grpc.RpcError) as caught:
                await client.is_model_ready("m")
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.NOT_FOUND, text)


def test_a_client_made_outside_a_loop_works_in_several_loops_one_after_the_other():
    client = InferenceGRPCClient(f"127.0.0.1:{free_port()}", retries=0)

    async def use() -> grpc.StatusCode:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.is_server_live(timeout=5)
        return caught.value.code()

    assert [asyncio.run(use()), asyncio.run(use())] == [grpc.StatusCode.UNAVAILABLE] * 2
    asyncio.run(client.close())


async def test_close_may_be_called_twice_and_ends_the_client():
    async with ToyServer() as server:
        client = client_for(server)
        await client.is_server_live()
        await client.close()
        await client.close()
        with pytest.raises(grpc.aio.UsageError, match="the client is closed"):
            await client.is_server_live()


async def test_a_connection_that_is_made_and_lost_is_noticed_while_nothing_is_asked():
    server = ToyServer()
    await server.start()
    async with client_for(server) as client:
        change = asyncio.create_task(client.wait_changed())
        await client.is_server_live()
        assert await asyncio.wait_for(change, 5) is True
        change = asyncio.create_task(client.wait_changed())
        await asyncio.sleep(0)
        assert not change.done()
        await server.stop()
        assert await asyncio.wait_for(change, 5) is False


async def test_what_changes_between_two_waits_is_told_by_the_second():
    server = ToyServer()
    await server.start()
    async with client_for(server) as client:
        change = asyncio.create_task(client.wait_changed())
        await client.is_server_live()
        assert await asyncio.wait_for(change, 5) is True
        await server.stop()
        with pytest.raises(grpc.RpcError):
            await client.is_server_live()
        assert await asyncio.wait_for(client.wait_changed(), 5) is False


async def test_a_replaced_connection_is_not_lost_and_its_successor_is_watched():
    server = ToyServer()
    await server.start()
    async with client_for(server) as client:
        for _ in range(2):
            change = asyncio.create_task(client.wait_changed())
            await client.is_server_live()
            assert await asyncio.wait_for(change, 5) is True
            await client.reconnect()
        change = asyncio.create_task(client.wait_changed())
        await client.is_server_live()
        assert await asyncio.wait_for(change, 5) is True
        await server.stop()
        assert await asyncio.wait_for(client.wait_changed(), 5) is False


async def test_without_a_connection_there_is_none_to_lose():
    async with InferenceGRPCClient(f"127.0.0.1:{free_port()}", retries=0) as client:
        lost = asyncio.create_task(client.wait_changed())
        with pytest.raises(grpc.RpcError):
            await client.is_server_live(timeout=1)
        assert not lost.done()
        lost.cancel()


async def test_tls_is_spoken_when_the_scheme_says_so(pki):
    server = ToyServer()
    await server.start(creds=pki.server_credentials())
    async with InferenceGRPCClient(
        f"grpcs://localhost:{server.port}", root_certificates=str(pki.ca)
    ) as client:
        assert await client.is_server_live()
    await server.stop()


async def test_a_client_certificate_is_shown_when_it_is_asked_for(pki):
    server = ToyServer()
    await server.start(creds=pki.server_credentials(mutual=True))
    url = f"localhost:{server.port}"
    with_certificate = InferenceGRPCClient(
        url,
        use_ssl=True,
        root_certificates=str(pki.ca),
        private_key=str(pki.key),
        certificate_chain=str(pki.cert),
    )
    async with with_certificate as client:
        assert await client.is_server_live()
    async with InferenceGRPCClient(
        url, use_ssl=True, root_certificates=str(pki.ca), retries=0
    ) as client:
        with pytest.raises(grpc.RpcError):
            await client.is_server_live(timeout=5)
    await server.stop()


@pytest.mark.parametrize(
    ("shown", "hint"),
    [
        ("plaintext", "plaintext was spoken: does the server want TLS?"),
        ("no certificate", "no client certificate was shown: does the server want one?"),
        ("another authority's", "does the server trust the client's certificate?"),
    ],
)
async def test_a_server_that_just_closes_the_connection_is_explained(pki, other_pki, shown, hint):
    server = ToyServer()
    await server.start(creds=pki.server_credentials(mutual=True))
    options = {"use_ssl": shown != "plaintext", "root_certificates": str(pki.ca), "retries": 0}
    if shown == "another authority's":
        options |= {"private_key": str(other_pki.key), "certificate_chain": str(other_pki.cert)}
    async with InferenceGRPCClient(f"localhost:{server.port}", **options) as client:
        with pytest.raises(grpc.RpcError) as caught:
            await client.is_server_live(timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert str(caught.value.details()).endswith(f" ({hint})")
    await server.stop()


async def test_ready_made_credentials_win(pki):
    server = ToyServer()
    await server.start(creds=pki.server_credentials())
    creds = grpc.ssl_channel_credentials(pki.ca.read_bytes())
    async with InferenceGRPCClient(
        f"localhost:{server.port}", use_ssl=False, root_certificates="/nowhere", creds=creds
    ) as client:
        assert await client.is_server_live()
    await server.stop()


@pytest.mark.parametrize(("verbose", "level"), [(True, logging.INFO), (False, logging.DEBUG)])
async def test_a_call_is_one_line_of_log_without_headers(verbose, level, caplog):
    caplog.set_level(logging.DEBUG, "sidecar.client")
    async with ToyServer() as server, client_for(server, verbose=verbose) as client:
        await client.is_server_live(headers={"authorization": "Bearer secret"})
        with pytest.raises(grpc.RpcError):
            await client.is_model_ready("m")
    lines = [(r.levelno, r.getMessage(), r.exc_info) for r in caplog.records]
    assert [(number, trace) for number, _, trace in lines] == [(level, None)] * 2
    assert " ServerLive OK in " in lines[0][1]
    assert " ModelReady NOT_FOUND: " in lines[1][1]
    assert "secret" not in caplog.text


def test_the_sentinel_is_printed_by_its_name():
    assert repr(USE_CLIENT_DEFAULT) == "USE_CLIENT_DEFAULT"


def test_files_and_credentials_that_are_none_are_refused_at_once():
    with pytest.raises(InvalidInput, match="file '/nowhere' cannot be read: "):
        InferenceGRPCClient("h:1", use_ssl=True, root_certificates="/nowhere")
    with pytest.raises(InvalidInput, match="creds of type str are not ChannelCredentials"):
        InferenceGRPCClient("h:1", creds=untyped("x"))
