"""`sidecar run`: the daemon, until SIGTERM or SIGINT."""

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from sidecar.cli.process import SIGNALS, ignore_signals
from sidecar.config import Settings
from sidecar.config.files import Loaded
from sidecar.lifecycle import Requests
from sidecar.outputs import log
from sidecar.outputs.http import server
from sidecar.runtime import Runtime

Load = Callable[[], Settings]
Daemon = Callable[[Loaded, socket.socket, Load, Path | None], Coroutine[Any, Any, None]]


async def run(loaded: Loaded, bound: socket.socket, load: Load, config: Path | None) -> None:
    """Run the daemon on a listening socket.

    `load` returns the settings again when the file `config`, or another one that
    they name, has changed.
    """
    runtime = Runtime(loaded, load, config)
    await runtime.run(bound, _requests())


def serve(loaded: Loaded, load: Load, config: Path | None, daemon: Daemon = run) -> int:
    """Listen, and run the daemon until it ends. Return the exit code."""
    settings = loaded.settings
    log.queue_stderr()
    log.configure(settings.log_level, settings.log_format)
    try:
        if settings.grpc_port is not None:  # gRPC does not accept a bound socket
            server.bind(settings.http_host, settings.grpc_port).close()
        bound = server.bind(settings.http_host, settings.http_port)
    except server.CannotListen as error:
        print(f"sidecar: {error}", file=sys.stderr)
        return 1
    server.allow_many_connections()
    # /metrics and /status are made in a thread beside the event loop. With Python's default of 5 ms
    # /healthz takes 6 ms at the median while /metrics of 1,000 models is made; so it takes 1.2 ms.
    sys.setswitchinterval(0.0002)
    # Imported modules are never garbage. Searching them blocks the event loop for 20 ms each time.
    gc.freeze()
    # A full collection stops every thread, for 20 to 90 ms with 10,000 models. While those are
    # scraped, it occurs a tenth as often as with the default of 10.
    gc.set_threshold(700, 10, 100)
    asyncio.run(daemon(loaded, bound, load, config))
    ignore_signals()
    return 0


def _requests() -> Requests:
    """Return the requests from signals: SIGHUP reloads, the first other drains, a second exits."""
    requests = Requests()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        (requests.exit if requests.drain.is_set() else requests.drain).set()

    loop.add_signal_handler(signal.SIGHUP, requests.reload.set)
    for signum in SIGNALS:
        loop.add_signal_handler(signum, stop)
    return requests
