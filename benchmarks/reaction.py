"""How fast is a server's loss noticed, and how fast its return?

Kills the toy server with SIGKILL again and again and asks /readyz until it
fails; the limit beside it, in the same kill, is a bare gRPC channel that only
waits for its own state. Then several sidecars and plain pollers watch one
server that is frozen (SIGSTOP), and that stays away for so many seconds.

    python -m benchmarks.reaction [--kills N] [--freezes N] [--outages SECONDSxTIMES ...]
"""

import argparse
import asyncio
import random
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

import grpc
import grpc.aio

from benchmarks.figures import table
from benchmarks.processes import Endpoint, get, plain_poller, seen
from tests.support import Sidecar, running_sidecar
from tests.toy import ToyProcess

MODELS = ("a", "b", "c")
RARELY = 30  # seconds from one round to the next, while all is well
PERIOD, RECOVERY, TIMEOUT, THRESHOLD = 5, 1, 2, 3  # the defaults
PLAIN_PERIOD = 1
SIDECARS, PLAIN = 6, 3
PAUSE = 0.01  # between two looks at an endpoint, where seconds are measured


@contextmanager
def sidecar(url: str, period: float, *flags: str) -> Iterator[Sidecar]:
    """The daemon at its default settings but for the period, and ready."""
    own = (f"--server-url={url}", f"--period-seconds={period}", f"--timeout-seconds={TIMEOUT}")
    recovery = f"--recovery-period-seconds={RECOVERY}"
    with (
        tempfile.TemporaryDirectory() as folder,
        running_sidecar(Path(folder, "log"), *own, recovery, *flags) as running,
    ):
        running.wait_for("/readyz", 200)
        yield running


async def seen_by_a_bare_channel(toy: ToyProcess, connected: asyncio.Event) -> float:
    """When a channel that was connected has noticed that it no longer is."""
    async with grpc.aio.insecure_channel(toy.url, [("grpc.use_local_subchannel_pool", 1)]) as bare:
        await bare.channel_ready()
        connected.set()
        await bare.wait_for_state_change(grpc.ChannelConnectivity.READY)
        return time.perf_counter()


class Kills:
    """What was seen of each kill, in seconds."""

    def __init__(self) -> None:
        self.ours: list[float] = []
        self.bare: list[float] = []
        self.plain: list[float] = []

    async def once(self, toy: ToyProcess, ours: Sidecar, plain: Endpoint) -> None:
        """One kill, at a random moment of the plain poller's period, of a server up for as long.

        The plain poller is left out where it has not yet noticed that the
        server is back from the kill before.
        """
        connected = asyncio.Event()
        bare = asyncio.create_task(seen_by_a_bare_channel(toy, connected))
        await connected.wait()
        await asyncio.sleep(random.uniform(1, 2) * PLAIN_PERIOD)
        plain_was_ready = await get(plain.port, "/readyz") == 200
        killed = time.perf_counter()
        toy.kill()
        self.ours.append(await seen(ours.port, "/readyz", 503) - killed)
        self.bare.append(await bare - killed)
        if plain_was_ready:
            self.plain.append(await seen(plain.port, "/readyz", 503) - killed)
        toy.start()
        await seen(ours.port, "/readyz", 200, pause=PAUSE)

    def figures(self) -> dict[str, list[float]]:
        """The rows."""
        rows = {
            "SIGKILL to /readyz 503": self.ours,
            "SIGKILL to a bare channel's notice": self.bare,
            "SIGKILL to the plain poller's 503": self.plain,
        }
        return {f"{name}, ms": [1000 * s for s in seconds] for name, seconds in rows.items()}


async def kill(times: int) -> dict[str, list[float]]:
    """The figures of so many kills."""
    kills = Kills()
    with (
        ToyProcess(models=dict.fromkeys(MODELS, True)) as toy,
        sidecar(toy.url, RARELY, f"--models={','.join(MODELS)}") as ours,
        plain_poller(toy.url, *MODELS, period=PLAIN_PERIOD) as plain,
    ):
        await seen(plain.port, "/readyz", 200)
        for _ in range(times):
            await kills.once(toy, ours, plain)
    return kills.figures()


class Fleet:
    """Several of each against one server, so that what happens to it once is seen many times.

    It has no models: then each answer is right from the moment that the port opens.
    """

    def __init__(self, stack: ExitStack) -> None:
        self.toy = stack.enter_context(ToyProcess())
        self.sidecars = [
            stack.enter_context(sidecar(self.toy.url, PERIOD, "--log-level=debug"))
            for _ in range(SIDECARS)
        ]
        self._plain = [
            stack.enter_context(plain_poller(self.toy.url, period=PLAIN_PERIOD))
            for _ in range(PLAIN)
        ]

    async def see(self, status: int) -> tuple[list[float], list[float]]:
        """When each sidecar and each plain poller first has this status."""
        ports = [ours.port for ours in self.sidecars] + [plain.port for plain in self._plain]
        moments = await asyncio.gather(
            *(seen(port, "/readyz", status, pause=PAUSE) for port in ports)
        )
        return moments[:SIDECARS], moments[SIDECARS:]

    async def settle(self) -> None:
        """All are ready, and none is in step with the others."""
        await self.see(200)
        await asyncio.sleep(random.uniform(PERIOD, 2 * PERIOD))


async def freeze(fleet: Fleet, times: int) -> dict[str, list[float]]:
    """The figures of so many freezes of the server."""
    ours: list[float] = []
    unanswered: list[float] = []
    plain: list[float] = []
    for _ in range(times):
        await fleet.settle()
        frozen, at = time.perf_counter(), time.time()
        fleet.toy.signal(signal.SIGSTOP)
        our_moments, plain_moments = await fleet.see(503)
        fleet.toy.signal(signal.SIGCONT)
        duration = [moment - frozen for moment in our_moments]
        ours += duration
        asked = [first_unanswered(each, at) - at for each in fleet.sidecars]
        unanswered += [a - b for a, b in zip(duration, asked, strict=True)]
        plain += [moment - frozen for moment in plain_moments]
    bound = TIMEOUT * THRESHOLD + RECOVERY
    return {
        "SIGSTOP to /readyz 503, s": ours,
        "SIGSTOP to /readyz 503: to timeout x threshold + recovery period": [
            s / bound for s in ours
        ],
        "first question without an answer to /readyz 503, s": unanswered,
        "first question without an answer to /readyz 503: to the same": [
            s / bound for s in unanswered
        ],
        "SIGSTOP to the plain poller's 503, s": plain,
    }


def first_unanswered(sidecar: Sidecar, since: float) -> float:
    """When it asked the first question that got no answer after that moment."""
    asked: Iterator[float] = (
        datetime.fromisoformat(record["time"]).timestamp() - record["duration"]
        for record in sidecar.records("server-live answered timeout")
    )
    return next(moment for moment in asked if moment > since - TIMEOUT)


async def keep_away(fleet: Fleet, seconds: float, times: int) -> dict[str, list[float]]:
    """The figures of so many outages of this length, from the moment the port is open again."""
    ours: list[float] = []
    plain: list[float] = []
    for _ in range(times):
        await fleet.settle()
        fleet.toy.kill()
        await asyncio.sleep(seconds)
        starting = asyncio.create_task(asyncio.to_thread(fleet.toy.start))
        opened = await port_open(fleet.toy.port)
        our_moments, plain_moments = await fleet.see(200)
        await starting
        ours += [moment - opened for moment in our_moments]
        plain += [moment - opened for moment in plain_moments]
    return {
        f"port open to /readyz 200 after {seconds:g} s, s": ours,
        f"port open to the plain poller's 200 after {seconds:g} s, s": plain,
    }


async def port_open(port: int) -> float:
    """When it first accepts a connection."""
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return time.perf_counter()
        await asyncio.sleep(0.002)


async def main(kills: int, freezes: int, outages: Sequence[tuple[float, int]]) -> None:
    """Prints the figures as they come."""
    if kills:
        print(table(await kill(kills), percentile=True), flush=True)
    with ExitStack() as stack:
        fleet = Fleet(stack)
        if freezes:
            print(table(await freeze(fleet, freezes)), flush=True)
        for seconds, times in outages:
            print(table(await keep_away(fleet, seconds, times), percentile=True), flush=True)


def outage(text: str) -> tuple[float, int]:
    """Seconds and times of `60x3`."""
    seconds, _, times = text.partition("x")
    return float(seconds), int(times)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--freezes", type=int, default=5)
    defaults = [(5.0, 10), (60.0, 4), (300.0, 2)]
    parser.add_argument("--outages", type=outage, nargs="*", default=defaults)
    asyncio.run(main(**vars(parser.parse_args())))
