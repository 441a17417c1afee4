"""Only the demo's server: `python -m sidecar.demo PORT`."""

import asyncio
import signal
import sys

from sidecar.demo.scenario import perform
from sidecar.demo.server import ToyServer


async def serve_alone(port: int) -> None:
    """Run the demo server with its script and without a sidecar, until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stopped.set)
    server = ToyServer()
    await server.start(port)
    script = asyncio.create_task(perform(server))
    await stopped.wait()
    script.cancel()
    await server.stop()


asyncio.run(serve_alone(int(sys.argv[1])))
