"""`sidecar demo`: the daemon with a small server whose models load, fail and recover."""

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

from sidecar.cli.run import Load, run
from sidecar.config import Settings
from sidecar.config.files import Loaded
from sidecar.demo import announcement
from sidecar.demo.scenario import perform
from sidecar.demo.server import ToyServer
from sidecar.outputs import log


async def run_demo(loaded: Loaded, bound: socket.socket, load: Load, config: Path | None) -> None:
    """Run the daemon; the address of the demo's server replaces server_url."""
    async with ToyServer() as server:
        url = f"127.0.0.1:{server.port}"

        def ours(settings: Settings) -> Settings:
            return settings.model_copy(update={"server_url": url})

        target = replace(loaded.target, url=url)
        loaded = replace(loaded, settings=ours(loaded.settings), target=target)
        script = asyncio.create_task(perform(server))
        log.print_aside(announcement(bound.getsockname()[1], loaded.settings.drain_seconds))
        try:
            await run(loaded, bound, lambda: ours(load()), config)
        finally:
            script.cancel()
