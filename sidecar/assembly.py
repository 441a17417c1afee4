"""From settings to what asks: the parts that the daemon and a single check have in common."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from typing import Protocol

from sidecar import __version__, prober
from sidecar.board import Board
from sidecar.client import InferenceGRPCClient
from sidecar.health.checks import Check, Observation
from sidecar.poller import Poller, Schedule
from sidecar.settings import Settings


class Asking(Protocol):
    """What a poller asks through: a prober, or a link from one to the next."""

    def ask(self, check: Check) -> Awaitable[Observation]:
        """Asks one check once."""
        ...

    async def wait_changed(self) -> bool:
        """Whether the connection is established or lost, when it is."""
        ...


def make_prober(settings: Settings, clock: Callable[[], float]) -> prober.Prober:
    """A prober with a connection of its own."""
    return prober.Prober(
        _client(settings),
        timeout=settings.timeout_seconds,
        headers=settings.metadata,
        clock=clock,
    )


def make_poller(
    board: Board, schedule: Schedule, asking: Asking, clock: Callable[[], float]
) -> Poller:
    """A poller of the board's checks, in real time."""
    return Poller(
        board,
        schedule,
        ask=asking.ask,
        wait_changed=asking.wait_changed,
        clock=clock,
        sleep=asyncio.sleep,
        uniform=random.uniform,
    )


def schedule(settings: Settings) -> Schedule:
    """When rounds start."""
    return Schedule(
        period=settings.period_seconds,
        recovery_period=settings.recovery_period,
        jitter=settings.jitter,
        concurrency=settings.concurrency,
    )


def about(settings: Settings) -> dict[str, str]:
    """What the status document tells of the sidecar itself."""
    return {"version": __version__, "server_url": settings.server_url}


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
            authority=settings.authority,
            user_agent=f"inference-health-sidecar/{__version__}",
        ),
        grpc_service=settings.grpc_service,
    )


def _path(path: os.PathLike[str] | None) -> str | None:
    return None if path is None else os.fspath(path)
