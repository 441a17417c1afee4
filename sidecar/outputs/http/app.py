"""The HTTP endpoints for the kubelet, Prometheus and people, answered from memory."""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable, Collection
from functools import partial

from aiohttp import hdrs, web
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from sidecar.blocking import BlockingCalls
from sidecar.core.rules import ENDPOINTS, Rule, Verdict, readiness
from sidecar.core.snapshot import Snapshot
from sidecar.outputs.http import page

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

# Seconds for creating the response of /metrics or /status. A sidecar with thousands of models and
# little CPU time needs some of them; clients do not wait longer.
DEADLINE = 60
Wanted = tuple[str, bool]  # the format of a response, and whether to compress it
Encoded = tuple[bytes, dict[str, str]]  # a body, and the headers for its encoding

OPENMETRICS = "application/openmetrics-text"

# Smaller bodies are not compressed: they are one or two packets in any case.
WORTH_COMPRESSING = 2048
# /status of a thousand models, with 60 answers each and all well: 380 KiB become 22 KiB in 0.7 ms
# (level 1), 20 in 1.3 (4), 16 in 10 (9). When much has failed, it is a megabyte and more.
COMPRESSION_LEVEL = 4

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Server": "inference-health-sidecar",
}
# The headers of the kubelet's response. Creating them here saves a tenth of its time.
OK_HEADERS = {**HEADERS, "Content-Type": "text/plain; charset=utf-8"}


def build_app(
    snapshot: Callable[[], Snapshot],
    status: Callable[[], Callable[[], bytes]],
    scrape: Callable[[], Collector],
) -> web.Application:
    """Return the application.

    snapshot:  returns the current snapshot, for the probes.
    status:    captures the current state, and returns a function that creates the
               document of /status from it in any thread.
    scrape:    captures the current state for /metrics.
    """
    app = web.Application()
    app.router.add_get("/", _page())
    for endpoint, rule in ENDPOINTS.items():
        app.router.add_get(f"/{endpoint}", _probe(endpoint, rule, snapshot))
    app.router.add_get("/readyz/{check:.+}", _one_check(snapshot))
    # The two slow responses are not created at the same time.
    one_at_a_time = asyncio.Lock()
    app.router.add_get("/metrics", _metrics(one_at_a_time, scrape))
    app.router.add_get("/status", _status(one_at_a_time, status))
    app.on_response_prepare.append(_add_headers)
    return app


def _probe(endpoint: str, rule: Rule, snapshot: Callable[[], Snapshot]) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        exclude = frozenset(request.query.getall("exclude", []))
        verdict = rule(snapshot(), exclude)
        unmatched: Collection[str] = ()
        if exclude:
            unmatched = sorted(exclude - {finding.name for finding in verdict.findings})
        return _answer(endpoint, verdict, "verbose" in request.query, unmatched)

    return handle


def _one_check(snapshot: Callable[[], Snapshot]) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        name = request.match_info["check"]
        for finding in readiness(snapshot()).findings:
            if finding.name == name:
                verdict = Verdict(finding.passing, partial(tuple, (finding,)))
                return _answer("readyz", verdict, "verbose" in request.query)
        raise web.HTTPNotFound

    return handle


def _answer(
    endpoint: str, verdict: Verdict, verbose: bool, unmatched: Collection[str] = ()
) -> web.Response:
    if verdict.passing and not verbose:
        return web.Response(body=b"ok", headers=OK_HEADERS)
    warnings = []
    if unmatched:
        names = ", ".join(json.dumps(name) for name in unmatched)
        warnings.append(f"warn: some health checks cannot be excluded: no matches for {names}")
    text = verdict.report(endpoint, *warnings)
    return web.Response(text=text, status=200 if verdict.passing else 503)


def _accepts_gzip(request: web.Request) -> bool:
    """Whether gzip is accepted, with at least the weight of identity (RFC 9110, 12.5.3)."""
    quality = {}
    for coding in ",".join(request.headers.getall("Accept-Encoding", [])).split(","):
        name, *parameters = (part.strip().lower() for part in coding.split(";"))
        given = [value for key, _, value in (p.partition("=") for p in parameters) if key == "q"]
        try:
            quality[name.removeprefix("x-")] = float(given[0]) if given else 1.0
        except ValueError:
            quality[name.removeprefix("x-")] = 0.0
    wanted = quality.get("gzip", quality.get("*", 0.0))
    return wanted > 0 and wanted >= quality.get("identity", 0.0)


def _encoded(body: bytes, gzipped: bool) -> Encoded:
    headers = {"Vary": "Accept-Encoding"}
    if gzipped and len(body) >= WORTH_COMPRESSING:
        body = gzip.compress(body, COMPRESSION_LEVEL, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return body, headers


def _one_for_all(
    one_at_a_time: asyncio.Lock, make: Callable[[Wanted], Callable[[], Encoded]]
) -> Callable[[Wanted], Awaitable[Encoded]]:
    """Return a function that creates a slow response in a thread, once for all waiting requests.

    With thousands of models it takes a second, during which the kubelet must be
    answered. `make` is called in the event loop; the function that it returns is
    called in the thread.
    """
    coming: dict[Wanted, asyncio.Task[Encoded]] = {}
    calls = BlockingCalls("making the response", DEADLINE)

    async def produce(wanted: Wanted) -> Encoded:
        async with one_at_a_time:
            # Requests from now on must see changes from now on.
            del coming[wanted]
            return await calls.run(make(wanted))

    async def give(wanted: Wanted) -> Encoded:
        if wanted not in coming:
            coming[wanted] = asyncio.create_task(produce(wanted))
        # A client that disconnects does not cancel it for others.
        try:
            return await asyncio.shield(coming[wanted])
        except OSError as error:  # it hangs, or no thread is available
            raise web.HTTPServiceUnavailable(text=f"{error}\n") from None

    return give


def _metrics(one_at_a_time: asyncio.Lock, scrape: Callable[[], Collector]) -> Handler:
    def make(wanted: Wanted) -> Callable[[], Encoded]:
        form, gzipped = wanted
        encode, _ = choose_encoder(form)
        moment = scrape()
        return lambda: _encoded(encode(moment), gzipped)

    give = _one_for_all(one_at_a_time, make)

    async def handle(request: web.Request) -> web.Response:
        # Requests for other versions and escapings are ignored: the metric names
        # do not need them, and an unknown one would raise an error in the library.
        accepted = OPENMETRICS in request.headers.get("Accept", "")
        wanted = f"{OPENMETRICS}; version=1.0.0" if accepted else ""
        body, headers = await give((wanted, _accepts_gzip(request)))
        _, content_type = choose_encoder(wanted)
        return web.Response(body=body, headers={**headers, "Content-Type": content_type})

    return handle


def _status(one_at_a_time: asyncio.Lock, status: Callable[[], Callable[[], bytes]]) -> Handler:
    def make(wanted: Wanted) -> Callable[[], Encoded]:
        document = status()
        _, gzipped = wanted
        return lambda: _encoded(document(), gzipped)

    give = _one_for_all(one_at_a_time, make)

    async def handle(request: web.Request) -> web.Response:
        body, headers = await give(("", _accepts_gzip(request)))
        return web.Response(
            body=body, headers=headers, content_type="application/json", charset="utf-8"
        )

    return handle


def _page() -> Handler:
    body, headers = page.load()

    async def handle(request: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    return handle


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    if hdrs.CACHE_CONTROL not in response.headers:
        response.headers.update(HEADERS)
