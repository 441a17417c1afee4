"""From settings to what asks: the parts that the daemon and a single check have in common."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

from sidecar import __version__
from sidecar.blocking import BlockingCalls
from sidecar.client.health import HealthClient as InferenceGRPCClient
from sidecar.client.channel import credentials, parse_url
from sidecar.config import Settings
from sidecar.core.checks import Check, Observation
from sidecar.probes import addresses, prober
from sidecar.scheduler import Poller, Schedule
from sidecar.store import HealthStore


class Asking(Protocol):
    """What a poller asks through: a prober, or one that can be replaced."""

    def ask(self, check: Check) -> Awaitable[Observation]:
        """Asks one check once."""
        ...

    async def wait_changed(self) -> bool:
        """Whether the connection is established or lost, when it is."""
        ...


def make_prober(settings: Settings, clock: Callable[[], float]) -> prober.Prober:
    """A prober with a connection of its own; reads the TLS files and the token."""
    target = parse_url(settings.server_url, tls=settings.tls)
    args = _channel_args(settings)
    # A name that was given to expect says how the server is to be addressed.
    named = settings.authority or settings.tls_server_name
    by_name = args if named else [*args, *addresses.named(target.address)]
    files = {
        "root_certificates": _path(settings.tls_ca_file),
        "private_key": _path(settings.tls_key_file),
        "certificate_chain": _path(settings.tls_cert_file),
    }
    creds = credentials(**files) if target.tls else None
    calls = BlockingCalls("looking up the server's name", settings.timeout_seconds)
    look_up = partial(addresses.look_up, calls)

    async def by_address() -> list[InferenceGRPCClient]:
        urls = await addresses.urls(target.address, look_up)
        return [_client(settings, url, by_name, creds=creds) for url in urls]

    return prober.Prober(
        _client(settings, settings.server_url, args, use_ssl=settings.tls, **files),
        timeout=settings.timeout_seconds,
        headers=settings.metadata,
        clock=clock,
        by_address=by_address,
    )


def make_poller(
    store: HealthStore, schedule: Schedule, asking: Asking, clock: Callable[[], float]
) -> Poller:
    """A poller of the store's checks, in real time."""
    return Poller(
        store,
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
        live_period=settings.live_period_seconds,
        jitter=settings.jitter,
        concurrency=settings.concurrency,
    )


def about(settings: Settings) -> dict[str, str]:
    """What the status document says about the sidecar itself."""
    return {"version": __version__, "server_url": settings.server_url}


def _channel_args(settings: Settings) -> prober.ChannelArgs:
    return prober.channel_args(
        timeout=settings.timeout_seconds,
        recovery_period=settings.recovery_period,
        server_name=settings.tls_server_name,
        authority=settings.authority,
        user_agent=f"inference-health-sidecar/{__version__}",
    )


def _client(
    settings: Settings, url: str, channel_args: prober.ChannelArgs, **tls: Any
) -> InferenceGRPCClient:
    return InferenceGRPCClient(
        url, channel_args=channel_args, retries=0, grpc_service=settings.grpc_service, **tls
    )


def _path(path: os.PathLike[str] | None) -> str | None:
    return None if path is None else os.fspath(path)
