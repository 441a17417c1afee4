"""Runs the canaries of the current settings; a reload replaces the runner."""

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sidecar.config import Settings
from sidecar.config.canaries import Payloads
from sidecar.config.files import Loaded
from sidecar.core.checks import Check
from sidecar.core.snapshot import Snapshot
from sidecar.store import Change, HealthStore

if TYPE_CHECKING:
    from sidecar.canaries import CanaryRunner
    from sidecar.probes.inference import CanaryProbe


def import_all() -> None:
    """Import what canaries need now, so that no import blocks the event loop later."""
    import concurrent.futures.thread  # noqa: F401 # of asyncio.to_thread

    import sidecar.canaries
    import sidecar.probes.inference  # noqa: F401


class CanaryLoop:
    """Sends the canaries of the current settings.

    store, snapshot:  return the current ones.
    clock:            returns monotonic seconds.
    """

    def __init__(
        self,
        store: Callable[[], HealthStore],
        snapshot: Callable[[], Snapshot],
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._snapshot = snapshot
        self._clock = clock
        self._loaded: Loaded | None = None
        self._payloads: Payloads = {}
        self._replaced = asyncio.Event()
        self._runner: CanaryRunner | None = None

    def __call__(self, change: Change) -> None:
        """Observe changes: pass each one on to the runner."""
        if self._runner is not None:
            self._runner(change)

    def replace(self, loaded: Loaded, discovered: Iterable[Check] = ()) -> None:
        """Send the canaries of these settings, and of discovered models, from now on."""
        payloads = {**dict.fromkeys(discovered), **loaded.canaries}
        if loaded is not self._loaded or payloads != self._payloads:
            self._loaded, self._payloads = loaded, payloads
            self._replaced.set()

    async def run(self) -> None:
        """Send canaries until cancelled."""
        while True:
            self._replaced.clear()
            replaced = asyncio.ensure_future(self._replaced.wait())
            sending = None
            if self._loaded is not None and self._payloads:
                probe = make_probe(self._loaded, self._payloads, self._clock)
                settings = self._loaded.settings
                self._runner = make_runner(
                    settings, probe, self._store(), self._snapshot, self._clock
                )
                sending = asyncio.create_task(self._runner.run())
            tasks = {replaced} if sending is None else {replaced, sending}
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if sending is not None and sending.done():
                    sending.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
                self._runner = None


def make_probe(loaded: Loaded, payloads: Payloads, clock: Callable[[], float]) -> "CanaryProbe":
    """Return the probe that sends these canaries."""
    from sidecar.probes.inference import CanaryProbe

    return CanaryProbe(
        loaded.target,
        payloads,
        max_reply_bytes=loaded.settings.canary_max_reply_bytes,
        clock=clock,
        metrics_url=loaded.settings.progress_metrics_url,
    )


def make_runner(
    settings: Settings,
    probe: "CanaryProbe",
    store: HealthStore,
    snapshot: Callable[[], Snapshot],
    clock: Callable[[], float],
) -> "CanaryRunner":
    """Return the runner that decides when they are sent."""
    from sidecar.canaries import CanaryRunner

    return CanaryRunner(
        store,
        snapshot,
        ask=probe.ask,
        statistics=probe.statistics,
        concurrency=settings.concurrency,
        recovery=settings.recovery_period,
        clock=clock,
        sleep=asyncio.sleep,
        uniform=random.uniform,
    )
