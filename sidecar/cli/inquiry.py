"""The state of `sidecar check`, and its outcome."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sidecar import __version__
from sidecar.cli.advice import lines
from sidecar.config.files import Loaded
from sidecar.core.checks import SERVER_LIVE, Check
from sidecar.core.reasons import NO_ANSWER, REASONS, Thresholds
from sidecar.core.rules import readiness
from sidecar.core.snapshot import Snapshot
from sidecar.core.state import Health
from sidecar.core.target import Server
from sidecar.history import History
from sidecar.outputs import log
from sidecar.outputs.http import status
from sidecar.store import Change, HealthStore, Observer

READY = 0

# In a single round each check is probed once, so that one result decides.
ONCE = Thresholds(failure=1, success=1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The exit code, the findings with hints, and the status document.

    `signum` is the signal that ended the waiting, if one did.
    """

    code: int
    findings: str
    document: Mapping[str, Any]
    signum: int | None = None


class Inquiry:
    """The checks, the results so far, and the outcome."""

    def __init__(self, loaded: Loaded, wait: float) -> None:
        settings = loaded.settings
        self.clock = time.monotonic
        self.canaries: Observer | None = None
        self.is_over = asyncio.Event()
        self._server_url = settings.server_url
        # A check does not discover models, which would replace ServerReady.
        self._policy = settings.model_copy(update={"discover": False}).policy
        self._texts: dict[Check, str] = {}
        thresholds = (settings.liveness, settings.readiness) if wait else (ONCE, ONCE)
        health = Health.initial(loaded.checks, self.clock(), *thresholds, loaded.judging.once())
        self._ends = health.started_at + wait
        self._history = History(health.checks)
        self.store = HealthStore(health, [self._keep_text, self._history, self._notify])

    def _keep_text(self, change: Change) -> None:
        observation = change.observation
        if observation is None:
            return
        if observation.check == SERVER_LIVE and REASONS[observation.reason].silences:
            self._texts.clear()  # the other checks are not probed, and their results are outdated
        self._texts[observation.check] = observation.detail

    def _notify(self, change: Change) -> None:
        if self.canaries is not None:
            self.canaries(change)
            if self.over:
                self.is_over.set()

    @property
    def elapsed(self) -> float:
        """The seconds since the start."""
        return self.clock() - self.store.health.started_at

    @property
    def over(self) -> bool:
        """Whether everything is ready, or the time is over."""
        return readiness(self.snapshot).passing or self.clock() >= self._ends

    @property
    def snapshot(self) -> Snapshot:
        """The current snapshot."""
        return Snapshot(self.store.health, self.clock(), self._policy)

    def failing(self) -> dict[Check, str]:
        """The reason of each check because of which readiness fails."""
        snapshot = self.snapshot
        findings = zip(snapshot.health.checks, readiness(snapshot).findings, strict=True)
        return {c: f.reason for c, f in findings if not f.passing and snapshot.gates(c)}

    def details(self) -> list[str]:
        """For each check with another result than ok, the text of the server or of gRPC."""
        texts = ((check, self._texts.get(check)) for check in self.store.health.checks)
        return [f"{check.name}: {log.printable(text)}" for check, text in texts if text]

    def outcome(self) -> Outcome:
        """The outcome as of now."""
        snapshot = self.snapshot
        ready, started = readiness(snapshot), snapshot.health.started_at
        sidecar = status.Sidecar(__version__, self._server_url, Server(), True, started)
        answers = [snapshot.health.checks[check].last_reason for check in self.failing()]
        # Of several the lowest code counts: an answer proves more than silence.
        codes = [NO_ANSWER if answer is None else REASONS[answer].exit_code for answer in answers]
        return Outcome(
            READY if ready.passing else min(codes),
            "\n".join([*lines(ready.findings), ready.trailer("readyz")]) + "\n",
            status.document(snapshot, self._history.pasts(), sidecar),
        )
