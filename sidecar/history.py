"""The last results of each check, as a string of letters, and its last failures.

Both are bounded. Failures are kept separately, so that successes do not displace
them.
"""

from array import array
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sidecar.core.checks import CANARY, SERVER_LIVE, Check
from sidecar.core.reasons import REASONS, Reason
from sidecar.store import Cause, Change

LETTERS: Mapping[Reason, str] = {reason: row.letter for reason, row in REASONS.items()}

STRIP = 60  # results
FAILURES = 10  # series of failures


class Failures(NamedTuple):
    """Consecutive failures with the same reason; `first` and `last` are monotonic times."""

    reason: Reason
    times: int
    first: float
    last: float
    duration: float


class Past(NamedTuple):
    """The past results of one check.

    results:    a letter for each of the last results, oldest first.
    failures:   the last series of failures, latest first.
    durations:  for a canary, those of the same results, packed as an array of "f".
    """

    results: str = ""
    failures: tuple[Failures, ...] = ()
    durations: bytes = b""

    def then(self, reason: Reason, at: float, duration: float) -> "Past":
        """Return the past after one more result."""
        letter = LETTERS[reason]
        results = (self.results + letter)[-STRIP:]
        if reason is Reason.OK:
            return self._replace(results=results)
        times, first, before = 1, at, self.failures
        if self.results.endswith(letter):
            times, first, before = before[0].times + 1, before[0].first, before[1:]
        row = Failures(reason, times, first, at, duration)
        return self._replace(results=results, failures=(row, *before)[:FAILURES])

    def lasting(self, duration: float) -> "Past":
        """Return the past with the duration of the latest result."""
        packed = array("f", self.durations)
        packed.append(duration)
        return self._replace(durations=packed[-STRIP:].tobytes())


NOTHING = Past()


class History:
    """An observer that keeps the past results of the current checks."""

    def __init__(self, checks: Iterable[Check]) -> None:
        self._pasts = dict.fromkeys(checks, NOTHING)

    def __call__(self, change: Change) -> None:
        """Add one result; that of a silent server is added to every check, as in the health."""
        if change.observation is None:
            if change.cause in (Cause.RELOAD, Cause.CHECKS, Cause.OTHER_SERVER):
                self._keep(change)
            return
        pasts, (check, reason, at, duration, *_) = self._pasts, change.observation
        silent = check == SERVER_LIVE and REASONS[reason].silences
        for each in pasts if silent else (check,):
            pasts[each] = pasts[each].then(reason, at, duration)
        if check.kind == CANARY:
            pasts[check] = pasts[check].lasting(duration)

    def _keep(self, change: Change) -> None:
        """Forget removed checks, and all results of another server."""
        known = {} if change.cause is Cause.OTHER_SERVER else self._pasts
        self._pasts = {check: known.get(check, NOTHING) for check in change.health.checks}

    def pasts(self) -> Mapping[Check, Past]:
        """The current pasts, which later results do not change."""
        return self._pasts.copy()
