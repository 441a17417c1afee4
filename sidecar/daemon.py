"""The composition root: what is built, in which order, and how it stops.

Only this file sees everything.
"""

import asyncio
import logging
import os
import platform
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection, Coroutine
from functools import partial
from importlib.metadata import version
from typing import Any

from prometheus_client.registry import CollectorRegistry

from sidecar import __version__, certificates, demo, logs, metrics, prober, status, web
from sidecar.board import Board
from sidecar.client import InferenceGRPCClient
from sidecar.health import verdict
from sidecar.health.state import Health
from sidecar.poller import Poller, Schedule
from sidecar.settings import Model, Settings, unknown_variables

logger = logging.getLogger(__name__)


async def run(settings: Settings, listener: socket.socket) -> None:
    """The daemon, until it is told to stop. Whatever it raises is a bug.

    Signals first, so that none is missed; then the endpoints, which answer
    from the first moment; then the polling, which gives them something to say.
    """
    clock = time.monotonic
    registry = CollectorRegistry()
    counter = metrics.PollCounter(registry, time.time)
    health = Health.initial(settings.checks, clock(), settings.liveness, settings.readiness)
    board = Board(health, [counter, logs.log_transitions])
    stop = _Stop(board.drain)

    judges = _judges(board, settings, clock)
    registry.register(
        metrics.HealthCollector(lambda: board.health, counter, settings.policy, judges, clock)
    )
    _register_process(registry, settings)
    document = partial(_document, board, judges, settings, clock)
    runner = await web.serve(web.build_app(judges, document, registry), listener)
    try:
        async with _client(settings) as client:
            _announce(settings, listener)
            await _poll(_poller(settings, board, client, clock), stop, settings.drain_seconds)
    finally:
        await runner.cleanup()
    logger.info("stopped")


async def run_demo(settings: Settings, listener: socket.socket) -> None:
    """The daemon against the toy server; only server_url and models are the demo's own."""
    async with demo.ToyServer() as server:
        own = {
            "server_url": f"127.0.0.1:{server.port}",
            "models": tuple(Model(name=name) for name in demo.MODELS),
        }
        script = asyncio.create_task(demo.perform(server))
        text = demo.announcement(listener.getsockname()[1], settings.drain_seconds)
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
        try:
            await run(settings.model_copy(update=own), listener)
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


async def _poll(poller: Poller, stop: _Stop, drain_seconds: float) -> None:
    """Polls until told to stop, and through the drain that follows."""
    polling = asyncio.create_task(poller.run())
    try:
        await _first(polling, stop.first.wait())
        if stop.first.is_set():
            logger.info(
                "stopping: /readyz fails from now on, the rest ends in %g s or by a second signal",
                drain_seconds,
            )
            asyncio.get_running_loop().call_later(drain_seconds, stop.second.set)
            await _first(polling, stop.second.wait())
        if polling.done():
            polling.result()
    finally:
        polling.cancel()
        await asyncio.wait({polling})


async def _first(task: asyncio.Task[None], event: Coroutine[Any, Any, Any]) -> None:
    """Waits for a task or for an event, whichever comes first."""
    waiting = asyncio.ensure_future(event)
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


def _judges(
    board: Board, settings: Settings, clock: Callable[[], float]
) -> dict[str, verdict.Judge]:
    """For each endpoint what its rule says of the board's health at the moment of the call."""
    policy = settings.policy

    def judge(rule: verdict.Rule, exclude: Collection[str] = ()) -> verdict.Verdict:
        return rule(board.health, clock(), policy, exclude)

    return {endpoint: partial(judge, rule) for endpoint, rule in verdict.ENDPOINTS.items()}


def _document(
    board: Board, judges: dict[str, verdict.Judge], settings: Settings, clock: Callable[[], float]
) -> dict[str, Any]:
    return status.document(
        board.health,
        {endpoint: judge(()) for endpoint, judge in judges.items()},
        settings.policy,
        now=clock(),
        about={"version": __version__, "server_url": settings.server_url},
    )


def _register_process(registry: CollectorRegistry, settings: Settings) -> None:
    files = {"ca": settings.tls_ca_file, "cert": settings.tls_cert_file}
    metrics.register_process(
        registry,
        versions={
            "version": __version__,
            "python": platform.python_version(),
            "grpcio": version("grpcio"),
        },
        certificates={
            name: certificates.earliest_expiry(path)
            for name, path in files.items()
            if path is not None
        },
        loaded_at=time.time(),
    )


def _client(settings: Settings) -> InferenceGRPCClient:
    return InferenceGRPCClient(
        settings.server_url,
        use_ssl=settings.tls,
        root_certificates=_path(settings.tls_ca_file),
        private_key=_path(settings.tls_key_file),
        certificate_chain=_path(settings.tls_cert_file),
        channel_args=prober.channel_args(
            timeout=settings.timeout_seconds,
            recovery_period=settings.recovery_period,
            server_name=settings.tls_server_name,
            user_agent=f"inference-health-sidecar/{__version__}",
        ),
        grpc_service=settings.grpc_service,
    )


def _path(path: os.PathLike[str] | None) -> str | None:
    return None if path is None else os.fspath(path)


def _poller(
    settings: Settings, board: Board, client: InferenceGRPCClient, clock: Callable[[], float]
) -> Poller:
    asking = prober.Prober(
        client, timeout=settings.timeout_seconds, headers=settings.metadata, clock=clock
    )
    schedule = Schedule(
        period=settings.period_seconds,
        recovery_period=settings.recovery_period,
        jitter=settings.jitter,
        concurrency=settings.concurrency,
    )
    return Poller(
        board,
        schedule,
        ask=asking.ask,
        wait_lost=client.wait_disconnected,
        clock=clock,
        sleep=asyncio.sleep,
        uniform=random.uniform,
    )


def _announce(settings: Settings, listener: socket.socket) -> None:
    for name in unknown_variables(os.environ):
        logger.warning("%s is set, but there is no such setting", name)
    fields = {
        "address": listener.getsockname()[0],
        "port": listener.getsockname()[1],
        "server_url": settings.server_url,
        "models": len(settings.models),
    }
    logger.info("sidecar %s is listening", __version__, extra={"fields": fields})
