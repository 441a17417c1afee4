"""What the results of canaries prove about a model: the window, the warm-up, and what is excused.

A canary is a small real inference. A status rests on the last few results,
because of a pool of workers some may be dead; what a request that was built
from the model's metadata says counts only once such a request has succeeded.
"""

from enum import StrEnum, auto
from typing import NamedTuple

from sidecar.core.checks import Observation, Payload
from sidecar.core.reasons import Reason

# Time-outs in a row that a model's progress excuses; skips in a row that real traffic allows.
MOST_EXCUSED = 3
MOST_SKIPS = 3

# What ends a canary at once when its payload was given: no other request will fare better.
DECISIVE = frozenset({Reason.DENIED, Reason.UNIMPLEMENTED, Reason.INVALID_REQUEST})

# What says that a request which was built does not fit the model.
UNFIT = frozenset({Reason.INVALID_REQUEST, Reason.UNIMPLEMENTED})

# The failures that may be mended by a restart.
RESTARTABLE = frozenset({Reason.TIMEOUT, Reason.ERROR})


class Counters(NamedTuple):
    """What a model has done since it was loaded, by the server's own count."""

    executions: int
    successes: int
    failures: int
    cache_hits: int

    def has_progressed(self, before: "Counters | None") -> bool:
        """Whether requests were finished since, and none failed."""
        if before is None:
            return False
        return self.executions > before.executions and self.failures <= before.failures

    def proves(self, before: "Counters | None") -> bool:
        """Whether real requests have proven the model since; those from a cache prove nothing."""
        if before is None:
            return False
        return self.has_progressed(before) and self.cache_hits <= before.cache_hits

    def is_from_cache(self, before: "Counters | None") -> bool:
        """Whether what was finished since came from the response cache."""
        if before is None:
            return False
        return self.executions == before.executions and self.cache_hits > before.cache_hits

    def began_again(self, before: "Counters | None") -> bool:
        """Whether the model was loaded again since."""
        if before is None:
            return False
        return self.executions < before.executions or self.successes < before.successes


class CanaryRules(NamedTuple):
    """The settings of canaries. Durations are seconds.

    period, timeout:        from a result to the next canary; how long one may take.
    failure_threshold, window:
                            so many failures among so many last results.
    success_threshold:      successes in a row after a failure.
    warmup:                 successes in a row at the start and after each reset.
    restart_after:          0 for never; how long canaries have to fail before a restart.
    max_restarts_per_hour:  more are withheld.
    """

    period: float = 30
    timeout: float = 30
    failure_threshold: int = 2
    window: int = 4
    success_threshold: int = 3
    warmup: int = 1
    restart_after: float = 0
    max_restarts_per_hour: int = 3

    @property
    def max_age(self) -> float:
        """How old a result may be: three periods and the time-out."""
        return 3 * self.period + self.timeout


class Outcome(StrEnum):
    """What one result says of the status."""

    SERVING = auto()
    NOT_SERVING = auto()
    UNCONFIGURED = auto()
    UNCHANGED = auto()


class Canary(NamedTuple):
    """What is known of one model's canaries, besides its status. Times are monotonic.

    payload:        of the last result.
    form:           of the last request that was built.
    window:         of the last results, whether each has failed; the latest last.
    successes:      in a row, and how many are `needed` for SERVING.
    has_succeeded:  ever, with this payload on this server.
    unconfigured:   there is no request that the model is known to take.
    excused:        time-outs in a row that progress has excused.
    skips:          canaries in a row that real traffic made needless.
    failing_since:  since when there was neither a success nor a sign of progress.
    """

    payload: Payload = Payload.BUILT
    window: tuple[bool, ...] = ()
    successes: int = 0
    needed: int = 1
    has_succeeded: bool = False
    unconfigured: bool = False
    excused: int = 0
    skips: int = 0
    failing_since: float | None = None
    form: str = ""

    def reset(self, rules: CanaryRules) -> "Canary":
        """The model has to be proven again; that the payload fits it is not forgotten."""
        return Canary(
            payload=self.payload,
            needed=rules.warmup,
            has_succeeded=self.has_succeeded,
            unconfigured=self.unconfigured,
            form=self.form,
        )

    def with_other(self, payload: Payload) -> "Canary":
        """With another request the window is empty, and nothing has succeeded with it."""
        known = self._replace(payload=payload, window=(), has_succeeded=False)
        return known._replace(unconfigured=False, failing_since=None)

    def _with_form(self, form: str) -> "Canary":
        """Once a request was built that has these inputs; with others it is another request."""
        if not form or form == self.form:
            return self
        known = self.with_other(Payload.BUILT) if self.form else self
        return known._replace(form=form)

    def skip(self) -> "Canary":
        """Real traffic has proven the model."""
        return self._replace(skips=self.skips + 1, failing_since=None)

    def fold(self, seen: Observation, rules: CanaryRules) -> tuple["Canary", Outcome]:
        """What is known after one more result, and what it says of the status."""
        if seen.payload is Payload.NONE:
            return self._replace(payload=Payload.NONE, unconfigured=True), Outcome.UNCONFIGURED
        payload = seen.payload or self.payload
        known = self._with_form(seen.form)._replace(payload=payload)
        if payload is Payload.BUILT and seen.reason in UNFIT:
            return known._replace(unconfigured=True, failing_since=None), Outcome.UNCONFIGURED
        if seen.reason is Reason.OK:
            return _succeed(known, rules)
        if seen.reason is Reason.BUSY and not seen.progress:
            return known, Outcome.UNCHANGED
        if seen.progress:
            known = known._replace(failing_since=None, excused=self.excused + 1)
            if known.excused <= MOST_EXCUSED:
                return known, Outcome.UNCHANGED
        elif seen.reason not in RESTARTABLE:
            known = known._replace(failing_since=None)
        elif known.failing_since is None:
            known = known._replace(failing_since=seen.at)
        return _fail(known, seen, rules)

    def may_skip(self) -> bool:
        """Whether real traffic may take the place of the next canary of a model that serves."""
        return self.successes >= self.needed and self.skips < MOST_SKIPS


def _succeed(known: Canary, rules: CanaryRules) -> tuple[Canary, Outcome]:
    successes = known.successes + 1
    known = known._replace(
        window=(*known.window, False)[-rules.window :],
        successes=successes,
        has_succeeded=True,
        unconfigured=False,
        excused=0,
        skips=0,
        failing_since=None,
    )
    return known, Outcome.SERVING if successes >= known.needed else Outcome.UNCHANGED


def _fail(known: Canary, seen: Observation, rules: CanaryRules) -> tuple[Canary, Outcome]:
    window = (*known.window, True)[-rules.window :]
    known = known._replace(window=window, successes=0)
    if known.payload is Payload.BUILT and not known.has_succeeded:
        return known._replace(unconfigured=True, failing_since=None), Outcome.UNCONFIGURED
    decisive = known.payload is Payload.GIVEN and seen.reason in DECISIVE
    if decisive or sum(window) >= rules.failure_threshold:
        return known._replace(needed=rules.success_threshold), Outcome.NOT_SERVING
    return known, Outcome.UNCHANGED


class Restarts(NamedTuple):
    """The restarts that canaries have asked for.

    wanted:    /healthz fails now because of canaries.
    withheld:  it would, but too many restarts were asked for within the last hour.
    times:     of those within the last hour, in monotonic seconds.
    requested_total, withheld_total:  how many there were.
    """

    wanted: bool = False
    withheld: bool = False
    times: tuple[float, ...] = ()
    requested_total: int = 0
    withheld_total: int = 0
