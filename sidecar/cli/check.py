"""`sidecar check`: probes once, or until everything is ready, and reports the result."""

import asyncio
import json
import random
import signal
import sys
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, TextIO

from sidecar.cli import terminal
from sidecar.cli.inquiry import Inquiry, Outcome
from sidecar.cli.process import ignore_signals, signal_code
from sidecar.config.files import Loaded
from sidecar.core.checks import SERVER_LIVE, Check
from sidecar.probes.prober import Prober
from sidecar.scheduler import Scheduler

if TYPE_CHECKING:
    from sidecar.probes.inference import CanaryProbe

NAMED = 3  # of the awaited checks


def check(loaded: Loaded, wait: float, output: str) -> int:
    """Probe, print findings or the JSON document by `output`, and return the exit code."""
    outcome = asyncio.run(run(loaded, wait, sys.stderr))
    ignore_signals()
    text = outcome.findings if output == "text" else json.dumps(outcome.document) + "\n"
    terminal.write(sys.stdout, text)
    return outcome.code if outcome.signum is None else signal_code(outcome.signum)


async def run(loaded: Loaded, wait: float, stream: TextIO | None) -> Outcome:
    """Probe everything once, and repeat it for up to this many seconds until it is ready.

    The first round always completes; a later one is ended when the time is over.
    The awaited checks and the server's own texts are written to the stream.
    SIGTERM and SIGINT end the wait.
    """
    settings = loaded.settings
    inquiry = Inquiry(loaded, wait)
    waiting = _Waiting(stream, wait)
    prober = Prober(loaded.target, inquiry.clock)
    # Jitter is for many daemons. A user waits for this command, so it starts at once.
    scheduler = Scheduler(
        inquiry.store,
        settings.schedule._replace(jitter=0),
        ask=prober.ask,
        wait_changed=prober.wait_changed,
        clock=inquiry.clock,
        sleep=asyncio.sleep,
        uniform=random.uniform,
    )
    first_round = asyncio.Event()

    def done() -> bool:
        first_round.set()
        if inquiry.over:
            return True
        waiting.report(inquiry)
        return False

    async def tick() -> None:
        while True:
            await asyncio.sleep(1)
            waiting.draw(inquiry)

    signalled = _signal()
    polling = asyncio.create_task(_poll(scheduler.run(done), loaded, inquiry, once=not wait))
    ticking = asyncio.create_task(tick())
    either: set[asyncio.Future[Any]] = {polling, signalled}
    try:
        await asyncio.wait(either, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        if not first_round.is_set():
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if polling.done():
            polling.result()
    finally:
        tasks = [polling, ticking]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await prober.close()
    waiting.end(inquiry.details())
    return replace(inquiry.outcome(), signum=signalled.result() if signalled.done() else None)


async def _poll(
    rounds: Coroutine[Any, Any, None], loaded: Loaded, inquiry: Inquiry, *, once: bool
) -> None:
    """Poll until the rounds end, and send the canaries: once after them, or meanwhile."""
    if not loaded.canaries:
        await rounds
        return
    from sidecar.canary_loop import make_probe, make_runner

    probe = make_probe(loaded, loaded.canaries, inquiry.clock)
    if once:
        await rounds
        await asyncio.gather(*(_send_once(probe, check, inquiry) for check in loaded.canaries))
        return
    runner = make_runner(
        loaded.settings, probe, inquiry.store, lambda: inquiry.snapshot, inquiry.clock
    )
    inquiry.canaries = runner
    # The rounds alone would detect a change only at the end of the next one.
    jobs: tuple[Coroutine[Any, Any, object], ...] = (rounds, runner.run(), inquiry.is_over.wait())
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()


async def _send_once(probe: "CanaryProbe", check: Check, inquiry: Inquiry) -> None:
    """Send a canary; its first result or first timeout decides."""
    async for seen in probe.ask(check, inquiry.store.health.canaries.rules.timeout):
        inquiry.store.record(seen)
        return


def _signal() -> "asyncio.Future[signal.Signals]":
    """Wait for the first signal to stop and return it."""
    loop = asyncio.get_running_loop()
    coming: asyncio.Future[signal.Signals] = loop.create_future()

    def stop(signum: signal.Signals) -> None:
        if not coming.done():
            coming.set_result(signum)

    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop, signum)
    return coming


class _Waiting:
    """Shows the awaited checks: on a terminal in one line, otherwise a line per change."""

    def __init__(self, stream: TextIO | None, wait: float) -> None:
        self._stream = stream
        self._of = f" of {wait:g} s" if wait else ""
        self._terminal = stream is not None and stream.isatty()
        self._shown = ""

    def report(self, inquiry: Inquiry) -> None:
        """Show the awaited checks at the end of a round."""
        if self._terminal:
            self.draw(inquiry)
            return
        awaited = _awaited(inquiry.failing())
        if awaited != self._shown:
            self._shown = awaited
            text = next(iter(inquiry.details()), "")
            terminal.write(self._stream, f"{self._line(inquiry, awaited)}{text and '; '}{text}\n")

    def draw(self, inquiry: Inquiry) -> None:
        """Rewrite the terminal's line. A long one is cut, because a wrapped line would remain."""
        if self._stream is not None and self._terminal:
            columns = terminal.columns(self._stream)
            line = self._line(inquiry, _awaited(inquiry.failing()))[: columns - 1]
            terminal.write(self._stream, f"\r{line:{len(self._shown)}}")
            self._shown = line

    def end(self, lines: Iterable[str]) -> None:
        """Remove the terminal's line, and write these lines."""
        if self._terminal and self._shown:
            terminal.write(self._stream, f"\r{'':{len(self._shown)}}\r")
        for line in lines:
            terminal.write(self._stream, f"{line}\n")

    def _line(self, inquiry: Inquiry, awaited: str) -> str:
        return f"waiting for {awaited}, {int(inquiry.elapsed)} s{self._of}"


def _awaited(failing: Mapping[Check, str]) -> str:
    """Return the awaited checks with their reasons; only the server if it is among them."""
    if SERVER_LIVE in failing:
        failing = {SERVER_LIVE: failing[SERVER_LIVE]}
    shown = islice(failing.items(), NAMED)
    named = ", ".join(f"{check.name} ({reason})" for check, reason in shown)
    others = len(failing) - NAMED
    return f"{named} and {others} more" if others > 0 else named
