"""How fast are the kubelet's answers, alone and in a crowd, beside a bare aiohttp handler?

The crowd: a thousand models polled, four Prometheus that scrape, and a
thousand connections that stand idle or have sent half a request.

    python -m benchmarks.web [RUNS]
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks.figures import table
from benchmarks.processes import echo_server, process
from sidecar import web
from tests.support import running_sidecar, wait_until

REQUESTS, AT_ONCE = 2000, 16
IDLE, SCRAPERS, ASKED = 1000, 4, 1000

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
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
    await reader.read()
    writer.close()
    return time.perf_counter() - start


async def new_connections(port: int) -> float:
    """Requests a second, each on a connection of its own."""
    left = iter(range(REQUESTS))

    async def work() -> None:
        for _ in left:
            await ask(port, "/healthz")

    return await rate(work)


async def kept_alive(port: int) -> float:
    """Requests a second on connections that stay."""
    left = iter(range(REQUESTS))

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()

    return await rate(work)


async def rate(work: Callable[[], Awaitable[None]]) -> float:
    """How many requests a second so many workers get through."""
    start = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return REQUESTS / (time.perf_counter() - start)


async def in_a_crowd(port: int) -> dict[str, list[float]]:
    """The slowest hundredth and the slowest of the kubelet's answers, in milliseconds."""
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(IDLE)]
    for _, writer in idle[::2]:
        writer.write(b"GET /healthz HT")

    async def scrape() -> None:
        while True:
            await ask(port, "/metrics")
            await asyncio.sleep(1)

    scrapers = [asyncio.create_task(scrape()) for _ in range(SCRAPERS)]
    figures: dict[str, list[float]] = {}
    for path in ("/healthz", "/readyz"):
        took = []
        for _ in range(ASKED):
            took.append(await ask(port, path) * 1000)
            await asyncio.sleep(0.005)
        took.sort()
        figures[f"{path} in the crowd, 99th percentile, ms"] = [took[int(len(took) * 0.99)]]
        figures[f"{path} in the crowd, slowest, ms"] = [took[-1]]
    for scraper in scrapers:
        scraper.cancel()
    for _, writer in idle:
        writer.close()
    return figures


def main(runs: int) -> None:
    """Prints the figures."""
    web.allow_many_connections()
    models = ",".join(f"model-{number}" for number in range(1000))
    figures: dict[str, list[float]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(echo_server())
        flags = (f"--server-url={url}", "--period-seconds=5", "--timeout-seconds=2")
        ours = stack.enter_context(running_sidecar(folder / "few", *flags, "--models=m"))
        many = stack.enter_context(running_sidecar(folder / "many", *flags, f"--models={models}"))
        wait_until(lambda: many.get("/readyz").status == 200, within=60)
        bare_port = many.port + 1
        bare = stack.enter_context(process(sys.executable, "-c", BARE, str(bare_port)))
        stack.callback(bare.kill)
        time.sleep(1)
        for _ in range(runs):
            for name, measure in (("new connections", new_connections), ("kept alive", kept_alive)):
                our, their = asyncio.run(measure(ours.port)), asyncio.run(measure(bare_port))
                figures.setdefault(f"/healthz, {name}, a second", []).append(our)
                figures.setdefault(f"/healthz, {name}: to the bare handler", []).append(our / their)
            for label, values in asyncio.run(in_a_crowd(many.port)).items():
                figures.setdefault(label, []).extend(values)
    print(table(figures))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
