"""`sidecar check`: asks once, or until all is ready, and says what it came to."""

import asyncio
import json
import random
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, TextIO

from sidecar import __version__
from sidecar.cli import terminal
from sidecar.cli.process import ignore_signals, signal_code
from sidecar.config import Settings
from sidecar.config.files import Loaded
from sidecar.core.checks import SERVER_LIVE, Check
from sidecar.core.reasons import NO_ANSWER, REASONS, Thresholds
from sidecar.core.rules import readiness
from sidecar.core.snapshot import Snapshot
from sidecar.core.state import Health
from sidecar.history import History
from sidecar.outputs import log
from sidecar.outputs.http import status
from sidecar.probes.prober import Prober
from sidecar.scheduler import Scheduler
from sidecar.store import Change, HealthStore

READY = 0

# In a single round each check is asked once, so that one answer has to do.
ONCE = Thresholds(failure=1, success=1)

NAMED = 3  # of the checks that are waited for


@dataclass(frozen=True, slots=True)
class Outcome:
    """The exit code, the findings as /readyz?verbose prints them, and the status document.

    `signum` is the signal that ended the waiting, if one did.
    """

    code: int
    findings: str
    document: Mapping[str, Any]
    signum: int | None = None


def check(loaded: Loaded, wait: float, output: str) -> int:
    """Asks, prints findings or the document as `output` says, and returns the exit code."""
    outcome = asyncio.run(run(loaded, wait, sys.stderr))
    ignore_signals()
    text = outcome.findings if output == "text" else json.dumps(outcome.document) + "\n"
    terminal.write(sys.stdout, text)
    return outcome.code if outcome.signum is None else signal_code(outcome.signum)


async def run(loaded: Loaded, wait: float, stream: TextIO | None) -> Outcome:
    """Asks everything once, and again and again for so many seconds while it is not ready.

    The first round always comes to its end, a later one is cut when the time
    is over. What is waited for, and the server's own texts, go to the stream.
    SIGTERM and SIGINT end the waiting.
    """
    settings = loaded.settings
    inquiry = _Inquiry(settings, wait)
    waiting = _Waiting(stream, wait)
    prober = Prober(loaded.target, inquiry.clock)
    # Jitter spreads the calls of many daemons. A check is waited for, so it starts at once.
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
    polling = asyncio.create_task(scheduler.run(done))
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


def _signal() -> "asyncio.Future[signal.Signals]":
    """The first signal to stop, once there is one."""
    loop = asyncio.get_running_loop()
    coming: asyncio.Future[signal.Signals] = loop.create_future()

    def stop(signum: signal.Signals) -> None:
        if not coming.done():
            coming.set_result(signum)

    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop, signum)
    return coming


class _Inquiry:
    """What is asked, what is known so far, and what it would come to."""

    def __init__(self, settings: Settings, wait: float) -> None:
        self.clock = time.monotonic
        self._server_url = settings.server_url
        self._policy = settings.policy
        self._texts: dict[Check, str] = {}
        thresholds = (settings.liveness, settings.readiness) if wait else (ONCE, ONCE)
        health = Health.initial(settings.checks, self.clock(), *thresholds)
        self._ends = health.started_at + wait
        self._history = History(health.checks)
        self.store = HealthStore(health, [self._keep_text, self._history])

    def _keep_text(self, change: Change) -> None:
        observation = change.observation
        if observation is None:
            return
        if observation.check == SERVER_LIVE and REASONS[observation.reason].silences:
            self._texts.clear()  # the others are not asked, and what they said is over
        self._texts[observation.check] = observation.detail

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self.clock() - self.store.health.started_at

    @property
    def over(self) -> bool:
        """Whether all is ready, or the time is over."""
        return readiness(self.snapshot).passing or self.clock() >= self._ends

    @property
    def snapshot(self) -> Snapshot:
        """What is known at this moment."""
        return Snapshot(self.store.health, self.clock(), self._policy)

    def failing(self) -> dict[Check, str]:
        """The reason of each check that keeps readiness from passing."""
        snapshot = self.snapshot
        findings = zip(snapshot.health.checks, readiness(snapshot).findings, strict=True)
        return {c: f.reason for c, f in findings if not f.passing and snapshot.gates(c)}

    def details(self) -> list[str]:
        """For each check that was not answered with ok, the server's or gRPC's own text."""
        texts = ((check, self._texts.get(check)) for check in self.store.health.checks)
        return [f"{check.name}: {log.printable(text)}" for check, text in texts if text]

    def outcome(self) -> Outcome:
        """What it comes to at this moment."""
        snapshot = self.snapshot
        ready, started = readiness(snapshot), snapshot.health.started_at
        sidecar = status.Sidecar(__version__, self._server_url, True, started)
        answers = [snapshot.health.checks[check].last_reason for check in self.failing()]
        # When several fail the least counts: that something was answered proves more than silence.
        codes = [NO_ANSWER if answer is None else REASONS[answer].exit_code for answer in answers]
        return Outcome(
            READY if ready.passing else min(codes),
            ready.report("readyz"),
            status.document(snapshot, self._history.pasts(), sidecar),
        )


class _Waiting:
    """What is waited for: on a terminal a line that is rewritten, else a line for each change."""

    def __init__(self, stream: TextIO | None, wait: float) -> None:
        self._stream = stream
        self._of = f" of {wait:g} s" if wait else ""
        self._terminal = stream is not None and stream.isatty()
        self._shown = ""

    def report(self, inquiry: _Inquiry) -> None:
        """Tells what is waited for at the end of a round."""
        if self._terminal:
            self.draw(inquiry)
            return
        awaited = _awaited(inquiry.failing())
        if awaited != self._shown:
            self._shown = awaited
            text = next(iter(inquiry.details()), "")
            terminal.write(self._stream, f"{self._line(inquiry, awaited)}{text and '; '}{text}\n")

    def draw(self, inquiry: _Inquiry) -> None:
        """Rewrites the terminal's line; its end is cut, for a line that wraps stays."""
        if self._stream is not None and self._terminal:
            columns = terminal.columns(self._stream)
            line = self._line(inquiry, _awaited(inquiry.failing()))[: columns - 1]
            terminal.write(self._stream, f"\r{line:{len(self._shown)}}")
            self._shown = line

    def end(self, lines: Iterable[str]) -> None:
        """Takes the terminal's line away, and writes these."""
        if self._terminal and self._shown:
            terminal.write(self._stream, f"\r{'':{len(self._shown)}}\r")
        for line in lines:
            terminal.write(self._stream, f"{line}\n")

    def _line(self, inquiry: _Inquiry, awaited: str) -> str:
        return f"waiting for {awaited}, {int(inquiry.elapsed)} s{self._of}"


def _awaited(failing: Mapping[Check, str]) -> str:
    """The names and reasons of the checks that are waited for; of the server alone if it is one."""
    if SERVER_LIVE in failing:
        failing = {SERVER_LIVE: failing[SERVER_LIVE]}
    shown = islice(failing.items(), NAMED)
    named = ", ".join(f"{check.name} ({reason})" for check, reason in shown)
    others = len(failing) - NAMED
    return f"{named} and {others} more" if others > 0 else named
