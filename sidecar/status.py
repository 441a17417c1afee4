"""The one JSON document: what is known of every check, what each endpoint says, and why.

Its form is status.schema.json. Durations and ages are seconds; there is no
wall-clock time in it.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sidecar.core.checks import SERVER_LIVE, SERVER_READY, Check, Rpc
from sidecar.core.state import CheckState, Health, Probe, Status
from sidecar.core.verdict import (
    ENDPOINT_MEANINGS,
    ENDPOINTS,
    MEANINGS,
    Policy,
    Verdict,
    is_stale,
)
from sidecar.history import LETTERS, NOTHING, Past

BECAUSE = 20  # findings that are told of an endpoint; the others are in the checks


@dataclass(frozen=True, slots=True)
class Moment:
    """Everything that the document is made from; it may be made later, in another thread.

    now:                 monotonic seconds.
    about:               what the caller wants told of the sidecar itself.
    reload_successful:   whether the last loading of the settings was.
    loaded_at:           since when those in force are, monotonic.
    pasts:               what came before, by check.
    """

    health: Health
    policy: Policy
    now: float
    about: Mapping[str, str]
    reload_successful: bool
    loaded_at: float
    pasts: Mapping[Check, Past]


def document(moment: Moment) -> dict[str, Any]:
    """The document in plain values."""
    return {**_head(moment), "checks": list(_checks(moment))}


def encode(moment: Moment) -> bytes:
    """The document as JSON.

    Check by check: json.dumps lets no other thread go on before it is done,
    and with thousands of models that would be too long for the kubelet.
    """
    head = json.dumps(_head(moment))[:-1]
    checks = ", ".join(map(json.dumps, _checks(moment)))
    return f'{head}, "checks": [{checks}]}}'.encode()


def _head(moment: Moment) -> dict[str, Any]:
    health, now = moment.health, moment.now
    return {
        **moment.about,
        "uptime_seconds": round(now - health.started_at, 3),
        "draining": health.draining,
        "reload": {
            "successful": moment.reload_successful,
            "settings_age_seconds": round(now - moment.loaded_at, 3),
        },
        "endpoints": {
            name: _endpoint(rule(health, now, moment.policy), ENDPOINT_MEANINGS[name])
            for name, rule in ENDPOINTS.items()
        },
        "models": _models(moment),
        "letters": {letter: answer for answer, letter in LETTERS.items()},
        "meanings": MEANINGS,
    }


def _endpoint(verdict: Verdict, meaning: str) -> dict[str, Any]:
    failing = [finding for finding in verdict.findings if not finding.passing]
    return {
        "passing": verdict.passing,
        "meaning": meaning,
        "failing": len(failing),
        "because": [{"check": f.name, "reason": f.word} for f in islice(failing, BECAUSE)],
    }


def _models(moment: Moment) -> dict[str, int]:
    health, policy = moment.health, moment.policy
    ready = [
        state.status is Status.SERVING and not is_stale(state, moment.now, policy)
        for check, state in health.checks.items()
        if check.rpc is Rpc.MODEL_READY and check not in policy.optional
    ]
    return {"required": len(ready), "needed": policy.quorum.of(len(ready)), "ready": sum(ready)}


def _checks(moment: Moment) -> Iterator[dict[str, Any]]:
    health, policy = moment.health, moment.policy
    yield _check(moment, SERVER_LIVE, Probe.LIVENESS, health.live, required=True)
    for check, state in health.checks.items():
        required = check not in policy.optional and (
            check != SERVER_READY or policy.require_server_ready
        )
        yield _check(moment, check, Probe.READINESS, state, required=required)


def _check(
    moment: Moment, check: Check, probe: Probe, state: CheckState, *, required: bool
) -> dict[str, Any]:
    now = moment.now
    past = moment.pasts.get(check, NOTHING)
    age = None if state.answered_at is None else round(now - state.answered_at, 3)
    return {
        "name": check.name,
        "rpc": check.rpc,
        "model": check.model,
        "version": check.version,
        "probe": probe,
        "required": required,
        "status": state.status,
        "reason": state.reason,
        "status_seconds": round(now - state.since, 3),
        "answer": state.answer,
        "answer_age_seconds": age,
        "answer_stale": is_stale(state, now, moment.policy),
        "answer_duration_seconds": None if state.took is None else round(state.took, 6),
        "history": past.answers,
        "failures": [
            {
                "answer": row.answer,
                "times": row.times,
                "first_age_seconds": round(now - row.first, 3),
                "last_age_seconds": round(now - row.last, 3),
                "duration_seconds": round(row.took, 6),
            }
            for row in past.failures
        ],
    }
