"""The rules for canary results: the window of last results, the warm-up, and excused timeouts.

A canary is a small real inference. The status depends on the last few results,
because some workers of a pool may be dead while others answer. The results of a
request built from the model's metadata count only after one such request has
succeeded.
"""

from enum import StrEnum, auto
from typing import NamedTuple

from sidecar.core.checks import Observation, Payload
from sidecar.core.reasons import Reason

# The maximum number of consecutive timeouts that a model's progress excuses, and of consecutive
# canaries that are skipped because of real traffic.
MOST_EXCUSED = 3
MOST_SKIPS = 3

# With a configured request one such result is enough: a retry sends the same request.
DECISIVE = frozenset({Reason.DENIED, Reason.UNIMPLEMENTED, Reason.INVALID_REQUEST})

# Results that mean that a generated request does not fit the model.
UNFIT = frozenset({Reason.INVALID_REQUEST, Reason.UNIMPLEMENTED})

# Failures that a restart may fix.
RESTARTABLE = frozenset({Reason.TIMEOUT, Reason.ERROR})


class Counters(NamedTuple):
    """A model's counters since it was loaded, as reported by the server."""

    executions: int
    successes: int
    failures: int
    cache_hits: int

    def has_progressed(self, before: "Counters | None") -> bool:
        """Whether requests have completed since `before`, and none has failed."""
        if before is None:
            return False
        return self.executions > before.executions and self.failures <= before.failures

    def proves(self, before: "Counters | None") -> bool:
        """Whether real requests have succeeded since `before`, none of them from the cache."""
        if before is None:
            return False
        return self.has_progressed(before) and self.cache_hits <= before.cache_hits

    def is_from_cache(self, before: "Counters | None") -> bool:
        """Whether all requests since `before` were answered from the response cache."""
        if before is None:
            return False
        return self.executions == before.executions and self.cache_hits > before.cache_hits

    def began_again(self, before: "Counters | None") -> bool:
        """Whether the model has been reloaded since `before`."""
        if before is None:
            return False
        return self.executions < before.executions or self.successes < before.successes


class CanaryRules(NamedTuple):
    """The settings of canaries. Durations are in seconds.

    period, timeout:        from one result to the next canary; the limit for one canary.
    failure_threshold, window:
                            failures within the last results that make a model fail.
    success_threshold:      consecutive successes needed after a failure.
    warmup:                 consecutive successes needed at the start and after a reset.
    restart_after:          how long canaries must fail before a restart; 0 for never.
    max_restarts_per_hour:  further restarts are withheld.
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
        """The age at which a result becomes stale: three periods and the timeout."""
        return 3 * self.period + self.timeout


class Outcome(StrEnum):
    """How one result changes the status."""

    SERVING = auto()
    NOT_SERVING = auto()
    UNCONFIGURED = auto()
    UNCHANGED = auto()


class Canary(NamedTuple):
    """The state of one model's canaries, besides its status. Times are monotonic.

    payload:        of the last result.
    form:           of the last request that was built.
    window:         whether each of the last results was a failure; the latest is last.
    successes:      consecutive successes; SERVING needs `needed` of them.
    has_succeeded:  whether this payload has ever succeeded on this server.
    unconfigured:   no request is known that the model accepts.
    excused:        consecutive timeouts that were excused by progress.
    skips:          consecutive canaries that were skipped because of real traffic.
    failing_since:  start of the time without a success and without progress.
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
        """The model needs new successes; it is remembered whether the payload fits it."""
        return Canary(
            payload=self.payload,
            needed=rules.warmup,
            has_succeeded=self.has_succeeded,
            unconfigured=self.unconfigured,
            form=self.form,
        )

    def with_other(self, payload: Payload) -> "Canary":
        """The state for another request: an empty window, and no success yet."""
        known = self._replace(payload=payload, window=(), has_succeeded=False)
        return known._replace(unconfigured=False, failing_since=None)

    def _with_form(self, form: str) -> "Canary":
        """The state after a request with these inputs was built; other inputs are a new request."""
        if not form or form == self.form:
            return self
        known = self.with_other(Payload.BUILT) if self.form else self
        return known._replace(form=form)

    def skip(self) -> "Canary":
        """The state after a canary was skipped, because real traffic succeeds."""
        return self._replace(skips=self.skips + 1, failing_since=None)

    def fold(self, seen: Observation, rules: CanaryRules) -> tuple["Canary", Outcome]:
        """The state after one more result, and the effect on the status."""
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
        """Whether the next canary of a serving model may be skipped because of real traffic."""
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
    """The restarts that failing canaries have requested.

    wanted:    /healthz fails now because of canaries.
    withheld:  it would fail, but too many restarts were requested within the last hour.
    times:     of the requests within the last hour, in monotonic seconds.
    requested_total, withheld_total:  counted since the start.
    """

    wanted: bool = False
    withheld: bool = False
    times: tuple[float, ...] = ()
    requested_total: int = 0
    withheld_total: int = 0
