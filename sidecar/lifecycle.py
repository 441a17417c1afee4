"""When the daemon ends: after a request to drain, and the drain itself."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

logger = logging.getLogger(__name__)

DRAINING = "draining for %g s; /readyz now fails; send the signal again to exit at once"


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests to the running daemon.

    reload:  read the settings and their files now, changed or not.
    drain:   fail /readyz, and exit after drain_seconds.
    exit:    exit at once.
    """

    reload: asyncio.Event = field(default_factory=asyncio.Event)
    drain: asyncio.Event = field(default_factory=asyncio.Event)
    exit: asyncio.Event = field(default_factory=asyncio.Event)


async def work(
    jobs: Iterable[Coroutine[Any, Any, None]], requests: Requests, drain: Callable[[], float]
) -> None:
    """Run the jobs until an exit is requested. Any exception of a job is a bug.

    drain:  begins the drain and returns its seconds.
    """
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        await _first(tasks, requests.drain.wait())
        if requests.drain.is_set():
            seconds = drain()
            logger.info(DRAINING, seconds)
            asyncio.get_running_loop().call_later(seconds, requests.exit.set)
            await _first(tasks, requests.exit.wait())
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _first(tasks: Iterable[asyncio.Task[None]], event: Coroutine[Any, Any, Any]) -> None:
    """Wait for the first of these tasks or for an event."""
    waiting = asyncio.ensure_future(event)
    await asyncio.wait({*tasks, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
