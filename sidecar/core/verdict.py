"""What Kubernetes is told: a health, a moment and a policy in, a verdict out."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from sidecar.core.checks import SERVER_LIVE, SERVER_READY, Answer, Check, Rpc
from sidecar.core.reasons import REASONS
from sidecar.core.state import CheckState, Health, Status

# Two words that no single answer has: nothing was heard yet, and what was heard is too old.
UNKNOWN = "unknown"
STALE = "stale"

MEANINGS: Mapping[str, str] = {
    **{answer: row.meaning for answer, row in REASONS.items()},
    UNKNOWN: "no answer yet that proves anything",
    STALE: "the last answer is too old to prove anything",
}

POLLER = "poller"
DRAIN = "drain"


@dataclass(frozen=True, slots=True)
class Quorum:
    """How many of the required models must be ready: at least `count` and at least `percent`."""

    count: int = 0
    percent: float = 100

    def of(self, models: int) -> int:
        """The number needed among so many; never more than there are."""
        return min(models, max(self.count, math.ceil(models * self.percent / 100)))


@dataclass(frozen=True, slots=True)
class Policy:
    """What counts towards the verdicts. Durations are seconds.

    An answer older than `max_age` proves nothing. For `startup_grace` after
    the start a server that was never yet seen live does not fail liveness.
    """

    max_age: float
    quorum: Quorum = Quorum()
    optional: frozenset[Check] = frozenset()
    require_server_ready: bool = True
    startup_grace: float = 0

    def counts(self, check: Check) -> bool:
        """Whether readiness rests on this check; the others are only shown."""
        if check.rpc is Rpc.SERVER_READY:
            return self.require_server_ready
        return check not in self.optional


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a verdict. `word` is `ok`, an answer, `unknown` or `stale`.

    Only liveness passes with another word than `ok`: what is not proven dead.
    """

    name: str
    passing: bool
    word: str
    excluded: bool = False

    @property
    def line(self) -> str:
        """As Kubernetes' own health endpoints print it."""
        if self.excluded:
            return f"[+]{self.name} excluded: ok"
        if self.passing:
            unproven = "" if self.word == Answer.OK else f": not proven dead ({self.word})"
            return f"[+]{self.name} ok{unproven}"
        return f"[-]{self.name} failed: {self.word}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an endpoint passes; the findings it rests on are told when they are asked for.

    The kubelet asks each second and wants the status alone, and a thousand
    findings cost more than a thousand comparisons.
    """

    passing: bool
    tell: Callable[[], Iterable[Finding]] = tuple

    @property
    def findings(self) -> tuple[Finding, ...]:
        """One for each check that counts or is shown."""
        return tuple(self.tell())

    def report(self, endpoint: str, *warnings: str) -> str:
        """The findings line by line, warnings, and whether the endpoint passes."""
        trailer = f"{endpoint} check {'passed' if self.passing else 'failed'}"
        lines = [finding.line for finding in self.findings]
        return "\n".join([*lines, *warnings, trailer]) + "\n"


def liveness(health: Health, now: float, policy: Policy, exclude: Collection[str] = ()) -> Verdict:
    """Whether the server is not proven dead: before the first result it passes.

    Age does not matter: a sidecar without CPU time must not get a server restarted.
    """
    state = health.live
    never_seen = state.first_serving_at is None
    spared = never_seen and now - health.asked_since < policy.startup_grace
    passing = state.status is not Status.NOT_SERVING or spared
    return _one(Finding(SERVER_LIVE.name, passing, state.reason or UNKNOWN), exclude)


def readiness(health: Health, now: float, policy: Policy, exclude: Collection[str] = ()) -> Verdict:
    """Whether traffic may be sent: server and models by the policy, fresh answers, no drain."""
    serving, max_age = Status.SERVING, policy.max_age

    def passes(state: CheckState) -> bool:
        # Asked of each of thousands: is_stale() would be another call.
        status, answered_at = state.status, state.answered_at
        return status is serving and answered_at is not None and now - answered_at <= max_age

    def tell() -> Iterator[Finding]:
        if health.draining:
            yield Finding(DRAIN, False, Answer.SHUTTING_DOWN)
        for check, state in health.checks.items():
            stale = is_stale(state, now, policy)
            yield _exclude(
                Finding(check.name, False, STALE)
                if stale
                else _finding(check, passes(state), state),
                exclude,
            )

    return Verdict(not health.draining and _by_policy(health, policy, exclude, passes), tell)


def startup(health: Health, now: float, policy: Policy, exclude: Collection[str] = ()) -> Verdict:
    """Whether the server that runs now has been ready: every check that counts has been serving."""

    def passes(state: CheckState) -> bool:
        return health.has_started or state.first_serving_at is not None

    def tell() -> Iterator[Finding]:
        for check, state in health.checks.items():
            yield _exclude(_finding(check, passes(state), state), exclude)

    return Verdict(_by_policy(health, policy, exclude, passes), tell)


def progress(health: Health, now: float, policy: Policy, exclude: Collection[str] = ()) -> Verdict:
    """Whether this sidecar's own loop still brings answers, whatever they say."""
    passing = now - health.last_observation_at <= policy.max_age
    return _one(Finding(POLLER, passing, Answer.OK if passing else STALE), exclude)


def is_stale(state: CheckState, now: float, policy: Policy) -> bool:
    """Whether the last answer is too old to prove anything."""
    return state.answered_at is not None and now - state.answered_at > policy.max_age


def _finding(check: Check, passing: bool, state: CheckState) -> Finding:
    return Finding(check.name, passing, Answer.OK if passing else state.reason or UNKNOWN)


def _by_policy(
    health: Health,
    policy: Policy,
    exclude: Collection[str],
    passes: Callable[[CheckState], bool],
) -> bool:
    checks = health.checks
    if all(map(passes, checks.values())):
        return True  # by any policy

    def server(check: Check) -> bool:
        return check.name in exclude or passes(checks[check])

    required = [
        passes(state)
        for check, state in checks.items()
        if check.rpc is Rpc.MODEL_READY
        and not (policy.optional and check in policy.optional)
        and not (exclude and check.name in exclude)
    ]
    live = server(SERVER_LIVE)
    ready = not policy.require_server_ready or server(SERVER_READY)
    return live and ready and sum(required) >= policy.quorum.of(len(required))


def _one(finding: Finding, exclude: Collection[str]) -> Verdict:
    shown = _exclude(finding, exclude)
    return Verdict(shown.passing, lambda: (shown,))


def _exclude(finding: Finding, exclude: Collection[str]) -> Finding:
    if finding.name not in exclude:
        return finding
    return replace(finding, passing=True, word=Answer.OK, excluded=True)


class Rule(Protocol):
    """The form that every rule above has."""

    def __call__(
        self, health: Health, now: float, policy: Policy, exclude: Collection[str] = ()
    ) -> Verdict:
        """The verdict on a health at a monotonic time, some checks left out by name."""
        ...


# A rule applied to a health, a moment and a policy.
Judge = Callable[[Collection[str]], Verdict]

ENDPOINTS: Mapping[str, Rule] = {
    "healthz": liveness,
    "readyz": readiness,
    "startupz": startup,
    "livez": progress,
}

# What it means that an endpoint passes, in a line for people.
ENDPOINT_MEANINGS: Mapping[str, str] = {
    "healthz": "the inference server is not proven dead",
    "readyz": "traffic may be sent to the inference server",
    "startupz": "everything required has been ready since the server started",
    "livez": "the sidecar's own polling makes progress",
}
