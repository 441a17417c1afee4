"""The endpoints: every path and verb, whole bodies, headers, and odd requests."""

import asyncio
import contextlib
import gzip
import re
import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from hashlib import sha256

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sidecar.core.rules import ENDPOINTS
from sidecar.core.snapshot import Policy, Snapshot
from sidecar.core.state import Health
from sidecar.outputs.http import app as http_app
from sidecar.outputs.http.server import HttpServer, allow_many_connections, bind
from tests.core.folding import A, B, all_ok, fold, initial, saw

LINES = "[+]server-live ok\n[+]server-ready ok\n[+]model:a ok\n[+]model:b:3 ok\n"


@dataclass
class Site:
    """The web application over a health that the test chooses, at a moment that it chooses."""

    health: Health
    now: float = 0
    port: int = 0

    async def request(self, path: str, method: str = "GET", **options) -> tuple[int, str]:
        response, text = await self.whole(path, method, **options)
        return response.status, text

    async def whole(self, path: str, method: str = "GET", **options):
        url = f"http://127.0.0.1:{self.port}{path}"
        async with aiohttp.ClientSession() as session, session.request(method, url, **options) as r:
            return r, await r.text()

    def snapshot(self) -> Snapshot:
        return Snapshot(self.health, self.now, Policy(max_age=10))


@contextlib.asynccontextmanager
async def served(series: int, status: bytes) -> AsyncIterator[Site]:
    site = Site(all_ok(initial()))
    registry = CollectorRegistry()
    gauge = Gauge("inference_x", "An example.", ["n"] * (series > 1), registry=registry)
    for number in range(series):
        (gauge.labels(number) if series > 1 else gauge).set(1)
    app = http_app.build_app(site.snapshot, lambda: lambda: status, lambda: registry)
    server = HttpServer(app)
    bound = bind("127.0.0.1", 0)
    site.port = bound.getsockname()[1]
    await server.start(bound)
    yield site
    await server.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with served(1, b'{"a": 1}') as site:
        yield site


@pytest.fixture
async def large_site() -> AsyncIterator[Site]:
    """As `site`, with /metrics and /status that are worth compressing."""
    async with served(1000, b'{"a": [' + b"1, " * 1000 + b"1]}") as site:
        yield site


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/startupz", "/livez"])
async def test_a_passing_answer_is_ok(site, path):
    assert await site.request(path) == (200, "ok")


@pytest.mark.parametrize("query", ["verbose", "verbose=", "verbose=1", "x=1&verbose"])
async def test_verbose_prints_a_line_a_check_and_the_trailer(site, query):
    assert await site.request(f"/readyz?{query}") == (200, f"{LINES}readyz check passed\n")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/healthz", "[+]server-live ok\nhealthz check passed\n"),
        ("/startupz", f"{LINES}startupz check passed\n"),
        ("/livez", "[+]poller ok\nlivez check passed\n"),
    ],
)
async def test_each_endpoint_has_its_own_checks(site, path, body):
    assert await site.request(f"{path}?verbose") == (200, body)


@pytest.mark.parametrize("query", ["", "?verbose"])
async def test_a_failing_answer_is_503_and_always_tells_why(site, query):
    site.health = fold(site.health, saw(A, "model_not_found"), saw(B, "not_ready"))
    assert await site.request(f"/readyz{query}") == (
        503,
        "[+]server-live ok\n"
        "[+]server-ready ok\n"
        "[-]model:a failed: model_not_found\n"
        "[-]model:b:3 failed: not_ready\n"
        "readyz check failed\n",
    )


async def test_before_the_first_answer_no_traffic_is_sent_and_nothing_restarted(site):
    site.health = initial()
    statuses = {path: (await site.request(path))[0] for path in map("/{}".format, ENDPOINTS)}
    assert statuses == {"/healthz": 200, "/readyz": 503, "/startupz": 503, "/livez": 200}
    assert await site.request("/healthz?verbose") == (
        200,
        "[+]server-live ok: not proven dead (unknown)\nhealthz check passed\n",
    )


async def test_old_answers_fail_readyz_and_livez_and_nothing_else(site):
    site.now = 11
    statuses = {path: (await site.request(path))[0] for path in map("/{}".format, ENDPOINTS)}
    assert statuses == {"/healthz": 200, "/readyz": 503, "/startupz": 200, "/livez": 503}


async def test_a_check_can_be_left_out(site):
    site.health = fold(site.health, saw(A, "not_ready"))
    assert await site.request("/readyz?exclude=model:a") == (200, "ok")
    assert await site.request("/readyz?verbose&exclude=model:a&exclude=model:b:3") == (
        200,
        "[+]server-live ok\n"
        "[+]server-ready ok\n"
        "[+]model:a excluded: ok\n"
        "[+]model:b:3 excluded: ok\n"
        "readyz check passed\n",
    )


async def test_an_unknown_name_to_leave_out_gives_a_warning(site):
    _, body = await site.request("/readyz?verbose&exclude=nope&exclude=a%0Ab&exclude=model:a")
    assert body == (
        "[+]server-live ok\n"
        "[+]server-ready ok\n"
        "[+]model:a excluded: ok\n"
        "[+]model:b:3 ok\n"
        'warn: some health checks cannot be excluded: no matches for "a\\nb", "nope"\n'
        "readyz check passed\n"
    )


@pytest.mark.parametrize("name", ["server-live", "model:b:3", "model%3Ab%3A3"])
async def test_one_check_can_be_asked_for_alone(site, name):
    site.health = fold(site.health, saw(A, "not_ready"))
    assert await site.request(f"/readyz/{name}") == (200, "ok")


async def test_one_failing_check_alone_tells_why(site):
    site.health = fold(site.health, saw(A, "not_ready"))
    assert await site.request("/readyz/model:a") == (
        503,
        "[-]model:a failed: not_ready\nreadyz check failed\n",
    )


@pytest.mark.parametrize(
    "path", ["/readyz/nope", "/nope", "/healthz/", "/healthz/x", "/HEALTHZ", "/readyz/"]
)
async def test_an_unknown_path_is_404(site, path):
    assert await site.request(path) == (404, "404: Not Found")


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/readyz", "/readyz/model:a", "/metrics", "/status"]
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_another_verb_is_405_and_is_told_which_are_allowed(site, path, method):
    response, text = await site.whole(path, method)
    assert (response.status, text) == (405, "405: Method Not Allowed")
    assert response.headers["Allow"] == "GET,HEAD"


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/readyz?verbose", "/readyz/model:a", "/metrics", "/status", "/nope"]
)
async def test_head_is_get_without_the_body(site, path):
    get, text = await site.whole(path)
    head, nothing = await site.whole(path, "HEAD")
    assert (head.status, nothing) == (get.status, "")
    assert head.headers["Content-Length"] == str(len(text.encode()))
    assert head.headers["Content-Type"] == get.headers["Content-Type"]


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/healthz", "text/plain; charset=utf-8"),
        ("/readyz?verbose", "text/plain; charset=utf-8"),
        ("/nope", "text/plain; charset=utf-8"),
        ("/status", "application/json; charset=utf-8"),
        ("/", "text/html; charset=utf-8"),
    ],
)
async def test_every_answer_says_what_it_is_and_is_not_to_be_kept(site, path, content_type):
    response, _ = await site.whole(path)
    names = ("Content-Type", "X-Content-Type-Options", "Cache-Control", "Server")
    assert [response.headers[name] for name in names] == [
        content_type,
        "nosniff",
        "no-store",
        "inference-health-sidecar",
    ]
    assert "Access-Control-Allow-Origin" not in response.headers


async def test_the_status_is_json(site):
    assert await site.request("/status") == (200, '{"a": 1}')


async def test_the_page_may_ask_this_sidecar_again_and_nothing_else(site):
    response, text = await site.whole("/")
    texts = [re.findall(f"<{name}>(.*?)</{name}>", text, re.DOTALL) for name in ("script", "style")]
    script, style = (b64encode(sha256(only.encode()).digest()) for (only,) in texts)
    assert response.headers["Content-Security-Policy"].split("; ") == [
        "default-src 'none'",
        f"script-src 'sha256-{script.decode()}'",
        f"style-src 'sha256-{style.decode()}'",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
    assert response.headers["Referrer-Policy"] == "no-referrer"


async def test_the_page_never_makes_markup_of_what_it_is_told(site):
    _, text = await site.request("/")
    script = text.partition("<script>")[2]
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert way not in script
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]


@pytest.mark.parametrize(
    ("accept", "content_type", "last_line"),
    [
        ("", "text/plain", "inference_x 1.0"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text", "# EOF"),
        ("application/openmetrics-text; version=x.y", "application/openmetrics-text", "# EOF"),
        ("text/plain; version=x.y", "text/plain", "inference_x 1.0"),
    ],
)
async def test_the_metrics_come_in_the_format_that_is_asked_for(
    site, accept, content_type, last_line
):
    response, text = await site.whole("/metrics", headers={"Accept": accept})
    assert response.headers["Content-Type"].startswith(content_type)
    assert text.splitlines()[-1] == last_line
    assert "inference_x 1.0" in text


async def as_sent(site, path, method="GET", **headers):
    """The response and the body as it comes, for a request with these headers and no others."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        url = f"http://127.0.0.1:{site.port}{path}"
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        skip = ("Accept-Encoding",)
        async with session.request(method, url, headers=given, skip_auto_headers=skip) as response:
            return response, await response.read()


LARGE = [
    ("/metrics", "*/*"),
    ("/metrics", "application/openmetrics-text; version=1.0.0"),
    ("/status", "*/*"),
]


@pytest.mark.parametrize(("path", "accept"), LARGE)
async def test_a_large_body_comes_compressed_to_those_who_accept_it(large_site, path, accept):
    plain, body = await as_sent(large_site, path, Accept=accept)
    zipped, compressed = await as_sent(large_site, path, Accept=accept, Accept_Encoding="gzip")
    assert gzip.decompress(compressed) == body
    assert len(compressed) < len(body) / 3
    assert "Content-Encoding" not in plain.headers
    assert zipped.headers["Content-Encoding"] == "gzip"
    for response, length in ((plain, len(body)), (zipped, len(compressed))):
        assert response.headers["Vary"] == "Accept-Encoding"
        assert response.headers["Content-Length"] == str(length)
        assert response.headers["Content-Type"] == plain.headers["Content-Type"]


@pytest.mark.parametrize(("path", "accept"), LARGE)
@pytest.mark.parametrize("accept_encoding", ["gzip", "identity"])
async def test_head_tells_of_the_body_that_get_would_bring(
    large_site, path, accept, accept_encoding
):
    headers = {"Accept": accept, "Accept_Encoding": accept_encoding}
    get, _ = await as_sent(large_site, path, **headers)
    head, nothing = await as_sent(large_site, path, "HEAD", **headers)
    assert (head.status, nothing) == (200, b"")
    for name in ("Content-Length", "Content-Type", "Content-Encoding", "Vary"):
        assert head.headers.get(name) == get.headers.get(name)


@pytest.mark.parametrize(
    ("accept_encoding", "encoding"),
    [
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("deflate, gzip;q=1.0, *;q=0.5", "gzip"),
        ("gzip;q=0.001", "gzip"),
        ("gzip ; q=0.5", "gzip"),
        ("*", "gzip"),
        ("identity;q=0.5, gzip", "gzip"),
        ("identity;q=0, *", "gzip"),
        ("", None),
        ("identity", None),
        ("deflate, br", None),
        ("gzip;q=0", None),
        ("gzip; Q=0.000", None),
        ("gzip;q=0, *", None),
        ("*;q=0", None),
        ("identity, gzip;q=0.5", None),
        ("gzip;q=much", None),
        ("gzip;q=nan", None),
        ("gzipped", None),
    ],
)
async def test_a_body_is_compressed_for_nobody_who_does_not_want_it(
    large_site, accept_encoding, encoding
):
    response, _ = await as_sent(large_site, "/metrics", Accept_Encoding=accept_encoding)
    assert response.headers.get("Content-Encoding") == encoding


@pytest.mark.parametrize("path", ["/healthz", "/readyz?verbose", "/metrics", "/status"])
async def test_a_small_body_is_never_compressed(site, path):
    response, _ = await as_sent(site, path, Accept_Encoding="gzip")
    assert "Content-Encoding" not in response.headers


class Blocked(Collector):
    """Makes its family only when it is let go on, and counts how often."""

    def __init__(self) -> None:
        self.made = 0
        self.asked = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)

    def describe(self) -> Iterator[Metric]:
        yield from ()

    def collect(self) -> Iterator[Metric]:
        self.asked.release()
        assert self.go_on.acquire(timeout=10)
        self.made += 1
        yield GaugeMetricFamily("pages", "How many were made.", self.made)


async def test_all_who_scrape_while_a_page_is_made_share_the_next_and_hold_nobody_up(site):
    blocked, registry = Blocked(), CollectorRegistry()
    registry.register(blocked)
    arrived = asyncio.Semaphore(0)

    @aiohttp.web.middleware
    async def count(request, handler):
        arrived.release()
        return await handler(request)

    app = http_app.build_app(site.snapshot, lambda: bytes, lambda: registry)
    app.middlewares.append(count)
    server = HttpServer(app)
    bound = bind("127.0.0.1", 0)
    site.port = bound.getsockname()[1]
    await server.start(bound)
    scrapes = [asyncio.create_task(site.request("/metrics"))]
    assert await asyncio.to_thread(blocked.asked.acquire, timeout=10)
    scrapes += [asyncio.create_task(site.request("/metrics")) for _ in range(3)]
    for _ in range(4):
        await arrived.acquire()
    assert await site.request("/readyz") == (200, "ok")
    blocked.go_on.release(2)
    first, *others = [text.splitlines()[-1] for _, text in await asyncio.gather(*scrapes)]
    assert first == "pages 1.0"
    assert others == ["pages 2.0"] * 3
    await server.close()


async def raw(port: int, request: bytes) -> bytes:
    """What comes back for these bytes, until the server closes or says nothing more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    with contextlib.suppress(ConnectionError):
        await writer.drain()
    try:
        return await asyncio.wait_for(reader.read(), 2)
    except TimeoutError:
        return b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize(
    ("request_line", "headers", "status"),
    [
        (b"GET /" + b"x" * 100_000 + b" HTTP/1.1", b"", b"400"),
        (b"GET /healthz HTTP/1.1", b"X: " + b"x" * 100_000 + b"\r\n", b"400"),
        (b"BREW /healthz HTTP/1.1", b"", b"400"),
        (b"GET /healthz HTTP/9.9", b"", b"400"),
        (b"nonsense", b"", b"400"),
        (b"GET /readyz?exclude=%ff%00%zz&verbose HTTP/1.1", b"", b"200"),
        (b"GET //healthz HTTP/1.1", b"", b"404"),
        (b"GET /../etc/passwd HTTP/1.1", b"", b"404"),
        (b"GET http://elsewhere/healthz HTTP/1.1", b"", b"200"),
    ],
)
async def test_odd_requests_are_answered_and_the_next_one_too(
    site, request_line, headers, status, caplog
):
    message = request_line + b"\r\nHost: h\r\nConnection: close\r\n" + headers + b"\r\n"
    reply = await raw(site.port, message)
    assert reply[9:12] == status
    assert await site.request("/healthz") == (200, "ok")
    assert caplog.records == []


async def test_a_thousand_idle_connections_and_half_requests_do_not_stop_the_kubelet(site):
    allow_many_connections()  # both ends of each are this process's
    beginnings = (b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: h\r\nX: ")
    idle = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(1000)]
    for number, (_, writer) in enumerate(idle):
        writer.write(beginnings[number % 3])
    assert await site.request("/healthz") == (200, "ok")
    for _, writer in idle:
        writer.close()


async def test_each_who_waits_for_a_page_that_cannot_be_made_is_told_so(site, monkeypatch):
    monkeypatch.setattr(http_app, "DEADLINE", 0.2)
    blocked, registry = Blocked(), CollectorRegistry()
    registry.register(blocked)
    server = HttpServer(http_app.build_app(site.snapshot, lambda: bytes, lambda: registry))
    bound = bind("127.0.0.1", 0)
    site.port = bound.getsockname()[1]
    await server.start(bound)
    scrapes = [site.request("/metrics") for _ in range(4)]
    answers = await asyncio.wait_for(asyncio.gather(*scrapes), 10)
    assert {status for status, _ in answers} == {503}
    assert "takes longer than 0.2 s" in answers[0][1]
    blocked.go_on.release()
    await server.close()
