"""What Kubernetes is told: a health, a moment and a policy in, a verdict out."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from sidecar.health.checks import SERVER_LIVE, SERVER_READY, Answer, Check, Rpc
from sidecar.health.state import CheckState, Health, Status

# Two words that no single answer has: nothing was heard yet, and what was heard is too old.
UNKNOWN = "unknown"
STALE = "stale"

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


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a verdict. `word` is `ok`, an answer, `unknown` or `stale`."""

    name: str
    passing: bool
    word: str
    excluded: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an endpoint passes, and the findings it rests on."""

    passing: bool
    findings: tuple[Finding, ...]


def liveness(health: Health, now: float, policy: Policy, exclude: Collection[str] = ()) -> Verdict:
    """Whether the server lives. Age does not matter: a starved sidecar must not kill a server."""
    state = health.live
    never_seen = state.first_serving_at is None
    spared = never_seen and now - health.started_at < policy.startup_grace
    finding = _finding(SERVER_LIVE.name, state.status is Status.SERVING or spared, state)
    return _all_of([finding], exclude)


def readiness(health: Health, now: float, policy: Policy, exclude: Collection[str] = ()) -> Verdict:
    """Whether traffic may be sent: server and models by the policy, fresh answers, no drain."""
    findings = {}
    for check, state in health.checks.items():
        if is_stale(state, now, policy):
            findings[check] = Finding(check.name, False, STALE)
        else:
            findings[check] = _finding(check.name, state.status is Status.SERVING, state)
    verdict = _by_policy(findings, policy, exclude)
    if health.draining:
        drain = Finding(DRAIN, False, Answer.SHUTTING_DOWN)
        return Verdict(False, (drain, *verdict.findings))
    return verdict


def startup(health: Health, now: float, policy: Policy, exclude: Collection[str] = ()) -> Verdict:
    """Whether the server has been ready once: every check that counts has been serving before."""
    findings = {
        check: _finding(check.name, state.first_serving_at is not None, state)
        for check, state in health.checks.items()
    }
    return _by_policy(findings, policy, exclude)


def progress(health: Health, now: float, policy: Policy, exclude: Collection[str] = ()) -> Verdict:
    """Whether this sidecar's own loop still brings answers, whatever they say."""
    passing = now - health.progress_at <= policy.max_age
    return _all_of([Finding(POLLER, passing, Answer.OK if passing else STALE)], exclude)


def is_stale(state: CheckState, now: float, policy: Policy) -> bool:
    """Whether the last answer is too old to prove anything."""
    return state.answered_at is not None and now - state.answered_at > policy.max_age


def _finding(name: str, passing: bool, state: CheckState) -> Finding:
    return Finding(name, passing, Answer.OK if passing else state.reason or UNKNOWN)


def _by_policy(findings: dict[Check, Finding], policy: Policy, exclude: Collection[str]) -> Verdict:
    shown = {check: _exclude(finding, exclude) for check, finding in findings.items()}
    required = [
        finding.passing
        for check, finding in shown.items()
        if check.rpc is Rpc.MODEL_READY and check not in policy.optional and not finding.excluded
    ]
    enough = sum(required) >= policy.quorum.of(len(required))
    live = shown[SERVER_LIVE].passing
    ready = shown[SERVER_READY].passing or not policy.require_server_ready
    return Verdict(live and ready and enough, tuple(shown.values()))


def _all_of(findings: Iterable[Finding], exclude: Collection[str]) -> Verdict:
    shown = tuple(_exclude(finding, exclude) for finding in findings)
    return Verdict(all(finding.passing for finding in shown), shown)


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


# A rule applied to the health, moment and policy of whoever hands it out.
Judge = Callable[[Collection[str]], Verdict]

ENDPOINTS: Mapping[str, Rule] = {
    "healthz": liveness,
    "readyz": readiness,
    "startupz": startup,
    "livez": progress,
}
