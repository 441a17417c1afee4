"""What came before: of each check the last answers as a strip of letters, its failures apart.

Both are bounded, and the failures are kept apart so that successes do not
push them out. A check's past is immutable and small: a letter for an answer,
some bytes for a failure.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sidecar.core.checks import SERVER_LIVE, Check
from sidecar.core.reasons import REASONS, Reason
from sidecar.store import Cause, Change

LETTERS: Mapping[Reason, str] = {reason: row.letter for reason, row in REASONS.items()}

STRIP = 60  # answers
FAILURES = 10  # rows of failures

_ANSWERS = {ord(letter): reason for reason, letter in LETTERS.items()}
_BYTES = {reason: letter.encode() for reason, letter in LETTERS.items()}
# The letter, how often in a row, when first and last, how long the last one took.
_ROW = struct.Struct("<BIddf")


class Failures(NamedTuple):
    """One answer that was not ok, so many times in a row; `first` and `last` are monotonic."""

    reason: Reason
    times: int
    first: float
    last: float
    duration: float


class Past(NamedTuple):
    """What came before of one check, packed."""

    strip: bytes = b""
    rows: bytes = b""

    @property
    def answers(self) -> str:
        """A letter for each of the last answers, the oldest first."""
        return self.strip.decode()

    @property
    def failures(self) -> tuple[Failures, ...]:
        """The last rows of failures, the latest first."""
        return tuple(
            Failures(_ANSWERS[letter], times, first, last, duration)
            for letter, times, first, last, duration in _ROW.iter_unpack(self.rows)
        )

    def then(self, reason: Reason, at: float, duration: float) -> "Past":
        """The past after one more answer."""
        letter = _BYTES[reason]
        strip = (self.strip + letter)[-STRIP:]
        if reason is Reason.OK:
            return Past(strip, self.rows)
        times, first, before = 1, at, self.rows
        if self.strip.endswith(letter):
            _, times, first, _, _ = _ROW.unpack_from(before)
            times = min(times + 1, 2**32 - 1)
            before = before[_ROW.size :]
        rows = _ROW.pack(letter[0], times, first, at, duration) + before
        return Past(strip, rows[: FAILURES * _ROW.size])


NOTHING = Past()


class History:
    """The observer: keeps the past of the checks that are asked, and of no other."""

    def __init__(self, checks: Iterable[Check]) -> None:
        self._pasts = dict.fromkeys(checks, NOTHING)

    def __call__(self, change: Change) -> None:
        """Takes in one answer; of a silent server every check inherits it, as in the health."""
        if change.observation is None:
            self._keep(change)
            return
        pasts, (check, reason, at, duration, _detail) = self._pasts, change.observation
        silent = check == SERVER_LIVE and REASONS[reason].silences
        for each in pasts if silent else (check,):
            pasts[each] = pasts[each].then(reason, at, duration)

    def _keep(self, change: Change) -> None:
        """Forgets removed checks, and all that another server answered."""
        known = {} if change.cause is Cause.OTHER_SERVER else self._pasts
        self._pasts = {check: known.get(check, NOTHING) for check in change.health.checks}

    def pasts(self) -> Mapping[Check, Past]:
        """The pasts of this moment, which later answers do not change."""
        return self._pasts.copy()
