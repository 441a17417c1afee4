"""`sidecar demo`: the daemon beside a small server whose models load, fail and recover."""

import asyncio
import socket
from pathlib import Path

from sidecar.cli.run import Load, run
from sidecar.config import Settings
from sidecar.demo import announcement
from sidecar.demo.scenario import perform
from sidecar.demo.server import ToyServer
from sidecar.outputs import log


async def run_demo(
    settings: Settings, bound: socket.socket, load: Load, config: Path | None
) -> None:
    """The daemon; the address of the demo's server takes the place of server_url."""
    async with ToyServer() as server:
        own = {"server_url": f"127.0.0.1:{server.port}"}
        script = asyncio.create_task(perform(server))
        log.print_aside(announcement(bound.getsockname()[1], settings.drain_seconds))
        try:
            await run(
                settings.model_copy(update=own),
                bound,
                lambda: load().model_copy(update=own),
                config,
            )
        finally:
            script.cancel()
