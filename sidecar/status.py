"""The one JSON document: what is known of every check, and what each endpoint says."""

from collections.abc import Mapping
from typing import Any

from sidecar.health.checks import SERVER_LIVE, Check
from sidecar.health.state import CheckState, Health, Probe
from sidecar.health.verdict import Policy, Verdict, is_stale


def document(
    health: Health,
    verdicts: Mapping[str, Verdict],
    policy: Policy,
    *,
    now: float,
    about: Mapping[str, str],
) -> dict[str, Any]:
    """The document at the monotonic time `now`. Durations and ages are seconds.

    `about` is what the caller wants told of the sidecar itself.
    """

    def entry(check: Check, probe: Probe, state: CheckState) -> dict[str, Any]:
        age = None if state.answered_at is None else round(now - state.answered_at, 3)
        return {
            "name": check.name,
            "rpc": check.rpc,
            "model": check.model,
            "version": check.version,
            "probe": probe,
            "status": state.status,
            "reason": state.reason,
            "status_seconds": round(now - state.since, 3),
            "answer": state.answer,
            "answer_age_seconds": age,
            "answer_stale": is_stale(state, now, policy),
            "answer_duration_seconds": state.took,
        }

    return {
        **about,
        "uptime_seconds": round(now - health.started_at, 3),
        "draining": health.draining,
        "endpoints": {name: {"passing": verdict.passing} for name, verdict in verdicts.items()},
        "checks": [
            entry(SERVER_LIVE, Probe.LIVENESS, health.live),
            *(entry(check, Probe.READINESS, state) for check, state in health.checks.items()),
        ],
    }
