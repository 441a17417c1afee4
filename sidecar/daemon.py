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
from collections.abc import Collection, Coroutine, Mapping
from functools import partial
from importlib.metadata import version
from typing import Any

import prometheus_client
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
    """The daemon, until it is told to stop. Whatever it raises is a bug."""
    stop = asyncio.Event()
    stop_now = asyncio.Event()
    clock = time.monotonic
    registry = CollectorRegistry()
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
    counter = metrics.PollCounter(registry, time.time)
    health = Health.initial(settings.checks, clock(), settings.liveness, settings.readiness)
    board = Board(health, [counter, logs.log_transitions])

    def on_signal() -> None:
        if stop.is_set():
            stop_now.set()
        board.drain()
        stop.set()

    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, on_signal)

    policy = settings.policy

    def judge(rule: verdict.Rule, exclude: Collection[str] = ()) -> verdict.Verdict:
        return rule(board.health, clock(), policy, exclude)

    judges = {endpoint: partial(judge, rule) for endpoint, rule in verdict.ENDPOINTS.items()}

    def document() -> Mapping[str, Any]:
        verdicts = {endpoint: judge() for endpoint, judge in judges.items()}
        about = {"version": __version__, "server_url": settings.server_url}
        return status.document(board.health, verdicts, policy, now=clock(), about=about)

    registry.register(metrics.HealthCollector(lambda: board.health, counter, policy, judges, clock))
    metrics.register_process(
        registry,
        versions={
            "version": __version__,
            "python": platform.python_version(),
            "grpcio": version("grpcio"),
        },
        certificates=_expiries(settings),
        loaded_at=time.time(),
    )
    runner = await web.serve(web.build_app(judges, document, registry), listener)
    client = _client(settings)
    asking = prober.Prober(
        client, timeout=settings.timeout_seconds, headers=settings.metadata, clock=clock
    )
    poller = Poller(
        board,
        Schedule(
            settings.period_seconds,
            settings.recovery_period_seconds,
            settings.jitter,
            settings.concurrency,
        ),
        ask=asking.ask,
        wait_lost=client.wait_disconnected,
        clock=clock,
        sleep=asyncio.sleep,
        uniform=random.uniform,
    )
    _announce(settings, listener)
    polling = asyncio.create_task(poller.run())
    try:
        await _first(polling, stop.wait())
        if stop.is_set():
            logger.info("stopping: /readyz fails from now on; a second signal ends this at once")
            loop.call_later(settings.drain_seconds, stop_now.set)
            await _first(polling, stop_now.wait())
        if polling.done():
            polling.result()
    finally:
        polling.cancel()
        await asyncio.wait({polling})
        await runner.cleanup()
        await client.close()
    logger.info("stopped")


async def run_demo(settings: Settings, listener: socket.socket) -> None:
    """The daemon against the toy server; only server_url and models are the demo's own."""
    async with demo.ToyServer() as server:
        script = asyncio.create_task(demo.perform(server))
        sys.stdout.write(demo.announcement(listener.getsockname()[1]) + "\n")
        sys.stdout.flush()
        try:
            await run(settings.model_copy(update=_demo_settings(server)), listener)
        finally:
            script.cancel()


def _demo_settings(server: demo.ToyServer) -> dict[str, object]:
    return {
        "server_url": f"127.0.0.1:{server.port}",
        "models": tuple(Model(name=name) for name in demo.MODELS),
    }


async def _first(task: asyncio.Task[None], event: Coroutine[Any, Any, Any]) -> None:
    """Waits for a task or for an event, whichever comes first."""
    waiting = asyncio.ensure_future(event)
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


def _client(settings: Settings) -> InferenceGRPCClient:
    return InferenceGRPCClient(
        settings.server_url,
        use_ssl=settings.tls,
        root_certificates=_path(settings.tls_ca_file),
        private_key=_path(settings.tls_key_file),
        certificate_chain=_path(settings.tls_cert_file),
        channel_args=prober.channel_args(
            timeout=settings.timeout_seconds,
            recovery_period=settings.recovery_period_seconds,
            server_name=settings.tls_server_name,
            user_agent=f"inference-health-sidecar/{__version__}",
        ),
        timeout=settings.timeout_seconds,
        retries=0,
        grpc_service=settings.grpc_service,
    )


def _path(path: os.PathLike[str] | None) -> str | None:
    return None if path is None else os.fspath(path)


def _expiries(settings: Settings) -> dict[str, float]:
    files = {"ca": settings.tls_ca_file, "cert": settings.tls_cert_file}
    return {
        name: certificates.earliest_expiry(path) for name, path in files.items() if path is not None
    }


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
