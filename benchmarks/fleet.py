"""What does a fleet of pods cost Prometheus, how quick is its dashboard, and what is asked at once?

A real Prometheus scrapes so many pods, whose page is the real one; then every query of
the dashboard's fleet view is timed, over raw series and, where there is one, by its
recording rule. And the real scheduler of so many pods that start at once, in virtual
time: the questions in each second.

    python -m benchmarks.fleet [PODS] [SECONDS]
"""

import asyncio
import heapq
import itertools
import json
import random
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any, cast

import yaml
from prometheus_client import generate_latest

from benchmarks.figures import table
from benchmarks.processes import memory
from docs.series import scrape, series
from sidecar.core.checks import (
    SERVER_LIVE,
    SERVER_READY,
    Check,
    Observation,
    model_ready,
)
from sidecar.core.reasons import Reason, Thresholds
from sidecar.core.schedule import CheckSchedule, Schedule
from sidecar.core.state import Health
from sidecar.scheduler import Scheduler
from sidecar.store import HealthStore
from tests.prometheus import prometheus

ROOT = Path(__file__).parents[1]
MODELS, INTERVAL = 10, 30
# The answer to a question, in seconds.
ANSWER = 0.001


def serve(body: bytes) -> ThreadingHTTPServer:
    """Answers every request with a page, on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Prometheus has closed a connection."""

    server = Quiet(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def configuration(folder: Path, port: int, pods: int) -> dict[str, Any]:
    """Prometheus' settings: so many targets, and the rules of deploy/."""
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yaml").read_text())["spec"]
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    targets = [
        {
            "targets": [f"127.0.0.1:{port}"],
            "labels": {
                "namespace": f"team-{n % 20}",
                "workload": f"workload-{n % 200}",
                "pod": f"pod-{n}",
            },
        }
        for n in range(pods)
    ]
    return {
        "global": {"scrape_interval": f"{INTERVAL}s", "evaluation_interval": "30s"},
        "rule_files": [str(folder / "rules.yaml")],
        "scrape_configs": [{"job_name": "monitoring/inference-health", "static_configs": targets}],
    }


# What a recording rule stands for in the dashboard, as it was asked before.
BEFORE = {"Failed questions by reason": "sum by (reason) (rate(inference_poll_failures_total[2m]))"}


def queries() -> dict[str, str]:
    """The queries of the dashboard's fleet view, by the titles of their panels."""
    board = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text())
    found: dict[str, str] = {}
    for panel in board["panels"][1:]:
        if panel["type"] == "row":
            return found
        for target in panel["targets"]:
            text = re.sub(r"\$(namespace|model)", ".*", target["expr"])
            found[panel["title"]] = text.replace("$__rate_interval", "2m")
    return found


def milliseconds(ask: Callable[[], object], times: int) -> list[float]:
    """How long a question takes, several times."""
    took = []
    for _ in range(times):
        start = time.perf_counter()
        ask()
        took.append((time.perf_counter() - start) * 1000)
    return took


def scraped(pods: int, seconds: float) -> None:
    """Prints what a fleet costs a real Prometheus, and how long its dashboard takes."""
    server = serve(generate_latest(cast("Any", scrape(MODELS, MODELS))))
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        config = configuration(folder, server.server_port, pods)
        with prometheus(folder, config) as running:
            time.sleep(seconds)
            pid = running.pid
            runtime = running.get("status/tsdb")["headStats"]
            heads = int(runtime["numSeries"])
            mib = memory(pid)
            print(f"{pods} pods of {MODELS} models with canaries, each {INTERVAL} s:")
            print(f"- series: {heads:,}; {series(MODELS, MODELS)} a pod and those of the rules")
            print(f"- samples a second: {pods * series(MODELS, MODELS) / INTERVAL:,.0f}")
            print(f"- memory of Prometheus: {mib:,.0f} MiB")
            print(f"- of that for each series: {mib * 1024**2 / heads:,.0f} bytes")
            groups = running.get("rules")["groups"]
            rules = {g["name"]: g["evaluationTime"] * 1000 for g in groups}
            print("- rules, ms: " + ", ".join(f"{n} {t:.0f}" for n, t in rules.items()))
            end = time.time()
            figures = {}
            before = {f"{title}, without its rule": expr for title, expr in BEFORE.items()}
            dashboard = queries()
            for title, expr in {**dashboard, **before}.items():
                # As many steps as three hours at a minute have, over the time that there is.
                window: dict[str, Any] = {"start": end - 90, "end": end, "step": "0.5"}
                now = partial(running.get, "query", query=expr)
                steps = partial(running.get, "query_range", query=expr, **window)
                figures[f"{title}, now, ms"] = milliseconds(now, 5)
                figures[f"{title}, 180 steps, ms"] = milliseconds(steps, 3)
            figures["every query of the dashboard, now, ms"] = [
                took for title in dashboard for took in figures[f"{title}, now, ms"]
            ]
            print(table(figures))
    server.shutdown()


class Virtual:
    """A clock that jumps to the next moment at which something is due."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = itertools.count()

    async def sleep(self, seconds: float) -> None:
        """Waits in virtual time."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._due, (self.now + max(seconds, 0), next(self._number), future))
        await future

    async def run(self, until: float) -> None:
        """Goes on until a moment."""
        while True:
            for _ in range(6):  # whoever was woken goes to its next sleep
                await asyncio.sleep(0)
            if not self._due or self._due[0][0] > until:
                return
            self.now = self._due[0][0]
            while self._due and self._due[0][0] <= self.now:
                *_, future = heapq.heappop(self._due)
                if not future.done():
                    future.set_result(None)


async def questions(pods: int, until: float, jitter: float) -> Counter[int]:
    """The questions in each second when so many pods start at once, by the real scheduler."""
    world, asked = Virtual(), Counter[int]()
    chance = random.Random(1)
    checks = (SERVER_LIVE, SERVER_READY, *(model_ready(f"model-{n}") for n in range(MODELS)))

    async def ask(check: Check, _: float) -> Observation:
        asked[int(world.now)] += 1
        await world.sleep(ANSWER)
        return Observation(check, Reason.OK, world.now, ANSWER)

    async def never() -> bool:
        await asyncio.get_running_loop().create_future()
        return False

    def polls() -> asyncio.Task[None]:
        health = Health.initial(checks, 0, Thresholds(), Thresholds())
        scheduler = Scheduler(
            HealthStore(health),
            Schedule(CheckSchedule(5, 1, 2), live_period=1, jitter=jitter, concurrency=8),
            ask=ask,
            wait_changed=never,
            clock=lambda: world.now,
            sleep=world.sleep,
            uniform=chance.uniform,
        )
        return asyncio.create_task(scheduler.run())

    tasks = [polls() for _ in range(pods)]
    await world.run(until)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return asked


def started(pods: int) -> None:
    """Prints the questions a second of a fleet that starts at once."""
    print(f"{pods} pods of {MODELS} models start at once; questions a second, by the jitter:\n")
    figures = {}
    for jitter in (0, 0.1, 1):
        asked = asyncio.run(questions(pods, 60, jitter))
        for name, seconds in (("first ten", range(10)), ("last ten", range(50, 60))):
            figures[f"jitter {jitter:g}, the {name} seconds"] = [float(asked[s]) for s in seconds]
    print(table(figures))
    for name, each in figures.items():
        print(f"{name}: worst second {max(each):,.0f}, {max(each) / median(each):.1f} x the median")


def main(pods: int, seconds: float) -> None:
    """Prints the figures."""
    print(
        "series a pod: "
        + ", ".join(
            f"{m} models and {c} canaries {series(m, c)}"
            for m, c in ((0, 0), (10, 0), (10, 10), (100, 100))
        )
    )
    started(pods)
    scraped(pods, seconds)


if __name__ == "__main__":
    main(*(int(arg) for arg in (*sys.argv[1:], *("1000", "150")[len(sys.argv) - 1 :])))
