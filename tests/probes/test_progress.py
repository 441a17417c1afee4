"""The counters of a model on its server's metrics page."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from sidecar.core.canary import Counters
from sidecar.core.checks import canary
from sidecar.probes.progress import MAX_BYTES, MetricsPage, of_model, parse

TRITON = """\
# HELP nv_inference_request_success Number of successful inference requests
nv_inference_request_success{model="bert",version="1"} 7
nv_inference_request_success{model="bert",version="2"} 3
nv_inference_request_success{model="other",version="1"} 99
nv_inference_request_failure{model="bert",reason="BACKEND",version="1"} 2
nv_inference_request_failure{model="bert",reason="OTHER",version="1"} 1
nv_inference_exec_count{model="bert",version="1"} 9
nv_inference_exec_count{model="bert",version="2"} 3
nv_cache_num_hits_per_model{model="bert",version="1"} 4
"""
MLSERVER = """\
model_infer_request_success_total{model="bert",version="1"} 5.0
model_infer_request_success_created{model="bert",version="1"} 1.7e+09
model_infer_request_failure_total{model="bert",version="1"} 1.0
"""
KSERVE = """\
request_predict_seconds_count{model_name="bert"} 6.0
request_predict_seconds_sum{model_name="bert"} 0.01
"""


@pytest.mark.parametrize(
    ("page", "version", "expected"),
    [
        (TRITON, "", Counters(12, 10, 3, 4)),
        (TRITON, "2", Counters(3, 3, 0, 0)),
        (MLSERVER, "", Counters(5, 5, 1, 0)),
        (KSERVE, "", Counters(6, 6, 0, 0)),
        ("", "", None),
        ("python_info 1\n", "", None),
        (TRITON, "9", None),
        ('nv_inference_exec_count{model="bert",version="1"', "", None),
    ],
)
def test_the_counters_of_the_servers_are_known(page, version, expected):
    assert of_model(parse(page.splitlines()), "bert", version) == expected


@asynccontextmanager
async def answering(reply: Callable[[], bytes | None]) -> AsyncIterator[str]:
    """A server that sends this to everyone, or nothing; its connections end with it."""
    connections: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        await reader.readuntil(b"\r\n\r\n")
        response = reply()
        if response is None:
            await reader.read()
        else:
            writer.write(response)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/metrics"
    finally:
        server.close()
        await asyncio.wait(connections)


def page(body: bytes, status: bytes = b"200 OK", *headers: bytes) -> bytes:
    length = b"Content-Length: %d" % len(body)
    return b"\r\n".join([b"HTTP/1.1 " + status, length, *headers, b"", body])


async def counters(response: bytes | None, within: float = 5) -> Counters | None:
    async with answering(lambda: response) as url:
        return await MetricsPage(url, within).counters(canary("bert"))


async def test_a_page_is_read():
    assert await counters(page(TRITON.encode())) == Counters(12, 10, 3, 4)


@pytest.mark.parametrize(
    "response",
    [
        page(TRITON.encode(), b"500 Broken"),
        page(b"", b"302 Found", b"Location: http://127.0.0.1:1/"),
        page(TRITON.encode() + b"#" * MAX_BYTES),
        page(b"\xff\x00\xfe" * 1000),
        page(b'nv_inference_exec_count{model="bert"} 1e999'),
        b"no HTTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nshort",
        b"",
    ],
    ids=["500", "redirect", "too large", "binary", "infinite", "no HTTP", "cut", "empty"],
)
async def test_a_page_that_cannot_be_read_is_no_evidence(response):
    assert await counters(response) is None


async def test_a_page_that_does_not_come_is_no_evidence():
    assert await counters(None, 0.2) is None


async def test_a_page_that_is_not_there_is_no_evidence():
    assert await MetricsPage("http://127.0.0.1:1/", 1).counters(canary("bert")) is None


async def test_many_canaries_share_a_read_that_began_after_they_asked():
    requests = 0
    is_asked = asyncio.Event()

    def reply() -> bytes:
        nonlocal requests
        requests += 1
        is_asked.set()
        return page(f'nv_inference_exec_count{{model="bert"}} {requests}\n'.encode())

    async with answering(reply) as url:
        metrics = MetricsPage(f"{url}?all=1", 5)
        first = asyncio.create_task(metrics.counters(canary("bert")))
        await is_asked.wait()
        rest = await asyncio.gather(*(metrics.counters(canary("bert")) for _ in range(100)))
        assert await first == Counters(1, 0, 0, 0)
        assert rest == [Counters(2, 0, 0, 0)] * 100
        assert requests == 2
