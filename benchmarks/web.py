"""How fast are the kubelet's answers, alone and in a crowd?

Alone: requests a second, beside a bare aiohttp handler and the plain poller's
in turn, and the CPU that the process which answers takes for them.

The crowd: a thousand models polled, four Prometheus that scrape each second,
and a thousand connections that stand idle or have sent half a request. Then
ten thousand models, of which one scrape after the other is made without a pause.

    python -m benchmarks.web [RUNS]
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.figures import table
from benchmarks.processes import cpu, echo_server, endpoint, get, plain_poller
from sidecar.outputs.http.server import allow_many_connections
from tests.support import Sidecar, free_port, running_sidecar

REQUESTS, AT_ONCE = 1000, 16
TURNS = 6  # a run is so many times so many requests to each, in turn
IDLE, SCRAPERS, ASKED = 1000, 4, 1000
STATUSES = 50

BARE = """
import sys
from aiohttp import web

async def answer(request):
    return web.Response(text="ok")


app = web.Application()
app.router.add_get("/healthz", answer)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
"""


async def ask(port: int, path: str) -> float:
    """Seconds that an answer took, on a new connection as the kubelet makes it."""
    start = time.perf_counter()
    await get(port, path)
    return time.perf_counter() - start


async def new_connections(port: int) -> float:
    """Seconds for all requests, each on a connection of its own."""
    left = iter(range(REQUESTS))

    async def work() -> None:
        for _ in left:
            await get(port, "/healthz")

    return await at_once(work)


async def kept_alive(port: int) -> float:
    """Seconds for all requests on connections that stay."""
    left = iter(range(REQUESTS))

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()

    return await at_once(work)


async def at_once(work: Callable[[], Awaitable[None]]) -> float:
    """Seconds that so many workers need together."""
    start = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return time.perf_counter() - start


MEASURES = {"new connections": new_connections, "kept alive": kept_alive}


def alone(servers: Sequence[tuple[int, int]]) -> dict[str, float]:
    """The figures of one run; `servers` are pid and port of ours, the bare one, the plain one."""
    figures: dict[str, float] = {}
    for name, measure in MEASURES.items():
        used = [cpu(pid) for pid, _ in servers]
        rounds = [[asyncio.run(measure(port)) for _, port in servers] for _ in range(TURNS)]
        our_cpu, bare_cpu, _ = (
            cpu(pid) - before for (pid, _), before in zip(servers, used, strict=True)
        )
        ours, bare, plain = (sum(column) for column in zip(*rounds, strict=True))
        figures |= {
            f"/healthz, {name}, a second": REQUESTS * TURNS / ours,
            f"/healthz, {name}, a second: to the bare handler": bare / ours,
            f"/healthz, {name}, a second, plain poller: to the bare handler": bare / plain,
            f"/healthz, {name}, CPU a request: to the bare handler": our_cpu / bare_cpu,
        }
    return figures


async def in_a_crowd(daemon: Sidecar) -> dict[str, list[float]]:
    """The kubelet's answers while others scrape, and many hold connections that ask nothing.

    And before that, what /status costs.
    """
    status, port = cpu_of_status(daemon), daemon.port
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(IDLE)]
    for _, writer in idle[::2]:
        writer.write(b"GET /healthz HT")
    figures = await while_scraped(port, "in the crowd", scrapers=SCRAPERS, pause=1)
    for _, writer in idle:
        writer.close()
    return {"/status of 1,000 models, CPU ms": [status]} | figures


async def while_scraped(
    port: int, when: str, *, scrapers: int = 1, pause: float = 0
) -> dict[str, list[float]]:
    """The slowest hundredth and the slowest of the kubelet's answers, in milliseconds."""

    async def scrape() -> None:
        while True:
            await ask(port, "/metrics")
            await asyncio.sleep(pause)

    scraping = [asyncio.create_task(scrape()) for _ in range(scrapers)]
    figures: dict[str, list[float]] = {}
    for path in ("/healthz", "/readyz"):
        duration = []
        for _ in range(ASKED):
            duration.append(await ask(port, path) * 1000)
            await asyncio.sleep(0.005)
        duration.sort()
        figures[f"{path} {when}, 99th percentile, ms"] = [duration[int(len(duration) * 0.99)]]
        figures[f"{path} {when}, slowest, ms"] = [duration[-1]]
    for scraper in scraping:
        scraper.cancel()
    return figures


async def of_ten_thousand(daemon: Sidecar) -> dict[str, list[float]]:
    """The kubelet's answers while there is always a scrape of so many models on its way."""
    return await while_scraped(daemon.port, "while 10,000 models are scraped")


def cpu_of_status(daemon: Sidecar) -> float:
    """Milliseconds of CPU for one /status; what the polls take meanwhile is in them."""
    before = cpu(daemon.process.pid)
    for _ in range(STATUSES):
        daemon.get("/status")
    return (cpu(daemon.process.pid) - before) * 1000 / STATUSES


def main(runs: int) -> None:
    """Prints the figures."""
    allow_many_connections()
    figures: dict[str, list[float]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(echo_server())
        flags = (f"--server-url={url}", "--period-seconds=5", "--timeout-seconds=2")
        with ExitStack() as few:
            ours = few.enter_context(running_sidecar(folder / "few", *flags, "--models=m"))
            port = free_port()
            bare = few.enter_context(endpoint(sys.executable, "-c", BARE, str(port), port=port))
            plain = few.enter_context(plain_poller(url, "m", period=5))
            bare.seconds_to("/healthz")
            plain.seconds_to("/readyz", 200)
            servers = [(ours.process.pid, ours.port), (bare.pid, port), (plain.pid, plain.port)]
            for _ in range(runs):
                for label, value in alone(servers).items():
                    figures.setdefault(label, []).append(value)
        for models, period, measure in ((1000, 5, in_a_crowd), (10_000, 30, of_ten_thousand)):
            names = ",".join(f"model-{number}" for number in range(models))
            log, own = folder / str(models), (f"--models={names}", f"--period-seconds={period}")
            with running_sidecar(log, *flags, *own) as many:
                many.wait_for("/readyz", 200, within=60)
                for _ in range(runs):
                    for label, values in asyncio.run(measure(many)).items():
                        figures.setdefault(label, []).extend(values)
    print(table(figures))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
