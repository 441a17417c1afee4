"""The composition root: what is built, in which order, and how it stops.

Only this file sees everything.
"""

import asyncio
import logging
import os
import platform
import signal
import socket
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from prometheus_client.registry import CollectorRegistry

from sidecar import __version__, assembly, demo, loading
from sidecar.blocking import BlockingCalls
from sidecar.config import BadSettings, Settings, variable_warnings
from sidecar.config.watch import Reloader
from sidecar.demo.scenario import perform
from sidecar.demo.server import ToyServer
from sidecar.loading import Loaded
from sidecar.outputs import log, prometheus
from sidecar.outputs.http import app, status
from sidecar.outputs.http.server import HttpServer, address
from sidecar.runtime import Runtime, summary

logger = logging.getLogger(__name__)

# Seconds within which the settings and their files have to be read, all of them.
FILES_DEADLINE = 60


async def run(
    settings: Settings,
    bound: socket.socket,
    load: Callable[[], Settings],
    config: Path | None = None,
) -> None:
    """The daemon, until it is told to stop. Whatever it raises is a bug.

    `load` gives the settings again when the file `config` or another one that
    they name has changed.

    Signals first, so that none is missed; then the endpoints, which answer
    from the first moment; then the files, which are read outside the loop, and
    the polling.
    """
    registry = CollectorRegistry()
    runtime = Runtime(settings, registry)
    stop = _Stop(runtime.store.drain)
    # It counts from now on, also while the files are read for the first time.
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
    judges = runtime.judges()
    prometheus.register_process(registry, _versions(), log.lines_dropped)
    http = app.build_app(judges, partial(_status, runtime), partial(_scrape, runtime, registry))
    server = HttpServer(http)
    await server.start(bound)
    try:
        _announce(settings, bound)
        await _work((_poll(runtime, load, config, asked), server.tend()), stop, runtime)
    finally:
        await server.close()
    logger.info("stopped")


async def _poll(
    runtime: Runtime, load: Callable[[], Settings], config: Path | None, asked: asyncio.Event
) -> None:
    """Reads the files; then polls and watches them."""
    files = BlockingCalls("reading the settings and their files", FILES_DEADLINE)
    read = partial(loading.read, load, config, runtime.clock)
    first = partial(loading.read_first, runtime.settings, read, runtime.clock)
    loaded = await _read_first(first, files, runtime)
    runtime.start(loaded)
    reloader = Reloader(
        loaded, config, files, asked, load=read, apply=runtime.apply, refused=runtime.loading.failed
    )
    try:
        await asyncio.gather(runtime.poller.run(), reloader.run())
    finally:
        await runtime.prober.close()


async def _read_first(read: Callable[[], Loaded], files: BlockingCalls, runtime: Runtime) -> Loaded:
    """What the files hold, as soon as they can be read."""
    while True:
        try:
            return await files.run(read)
        except (BadSettings, OSError) as error:
            if runtime.loading.successful:
                logger.warning("not polling until the files can be read: %s", error)
            runtime.loading.failed()
        await asyncio.sleep(runtime.settings.reload_interval_seconds)


async def run_demo(
    settings: Settings,
    bound: socket.socket,
    load: Callable[[], Settings],
    config: Path | None = None,
) -> None:
    """The daemon against the toy server, whose address takes the place of server_url."""
    async with ToyServer() as server:
        own = {"server_url": f"127.0.0.1:{server.port}"}
        script = asyncio.create_task(perform(server))
        text = demo.announcement(bound.getsockname()[1], settings.drain_seconds)
        log.print_aside(text)
        try:
            await run(
                settings.model_copy(update=own),
                bound,
                lambda: load().model_copy(update=own),
                config,
            )
        finally:
            script.cancel()


class _Stop:
    """Being told to stop: the first signal begins the drain, the second one ends it."""

    def __init__(self, drain: Callable[[], None]) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        self._drain = drain
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._told)

    def _told(self) -> None:
        (self.second if self.first.is_set() else self.first).set()
        self._drain()


async def _work(jobs: Iterable[Coroutine[Any, Any, None]], stop: _Stop, runtime: Runtime) -> None:
    """Does the jobs until told to stop, and through the drain that follows."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        await _first(tasks, stop.first.wait())
        if stop.first.is_set():
            seconds = runtime.settings.drain_seconds
            logger.info(
                "draining for %g s; /readyz now fails; send the signal again to exit at once",
                seconds,
            )
            asyncio.get_running_loop().call_later(seconds, stop.second.set)
            await _first(tasks, stop.second.wait())
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _first(tasks: Iterable[asyncio.Task[None]], event: Coroutine[Any, Any, Any]) -> None:
    """Waits for one of the tasks or for an event, whichever comes first."""
    waiting = asyncio.ensure_future(event)
    await asyncio.wait({*tasks, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


def _status(runtime: Runtime) -> Callable[[], bytes]:
    moment = status.Moment(
        runtime.store.health,
        runtime.policy,
        runtime.clock(),
        about=assembly.about(runtime.settings),
        reload_successful=runtime.loading.successful,
        loaded_at=runtime.loaded_at,
        pasts=runtime.history.pasts(),
    )
    return partial(status.encode, moment)


def _scrape(runtime: Runtime, registry: CollectorRegistry) -> prometheus.Scrape:
    return prometheus.Scrape(
        runtime.store.health, runtime.policy, runtime.clock(), runtime.counter.counts(), registry
    )


def _versions() -> dict[str, str]:
    return {
        "version": __version__,
        "python": platform.python_version(),
        "grpcio": version("grpcio"),
    }


def _announce(settings: Settings, bound: socket.socket) -> None:
    for warning in variable_warnings(os.environ):
        logger.warning("%s", warning)
    port = bound.getsockname()[1]
    fields = {"address": address(bound), "port": port, **summary(settings)}
    logger.info("sidecar %s is listening", __version__, extra={"fields": fields})
