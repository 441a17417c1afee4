"""The one JSON document."""

import json

from sidecar.health.checks import SERVER_LIVE
from sidecar.health.verdict import Policy, Verdict
from sidecar.status import document
from tests.health.folding import A, fold, initial, saw


def test_the_document_tells_everything_in_plain_values():
    health = fold(
        initial(SERVER_LIVE, A, now=100),
        saw(SERVER_LIVE, "ok", at=101, took=0.25),
        saw(A, "not_ready", at=103, took=0.5),
    )
    verdicts = {"healthz": Verdict(True), "readyz": Verdict(False)}
    got = document(
        health, verdicts, Policy(max_age=10), now=112.5, about={"version": "1", "server_url": "h:1"}
    )
    server = {
        "name": "server-live",
        "rpc": "ServerLive",
        "model": "",
        "version": "",
        "status": "SERVING",
        "reason": "ok",
        "status_seconds": 11.5,
        "answer": "ok",
        "answer_age_seconds": 11.5,
        "answer_stale": True,
        "answer_duration_seconds": 0.25,
    }
    assert json.loads(json.dumps(got)) == {
        "version": "1",
        "server_url": "h:1",
        "uptime_seconds": 12.5,
        "draining": False,
        "endpoints": {"healthz": {"passing": True}, "readyz": {"passing": False}},
        "checks": [
            {**server, "probe": "liveness"},
            {**server, "probe": "readiness"},
            {
                "name": "model:a",
                "rpc": "ModelReady",
                "model": "a",
                "version": "",
                "probe": "readiness",
                "status": "NOT_SERVING",
                "reason": "not_ready",
                "status_seconds": 9.5,
                "answer": "not_ready",
                "answer_age_seconds": 9.5,
                "answer_stale": False,
                "answer_duration_seconds": 0.5,
            },
        ],
    }


def test_what_was_never_heard_is_null():
    checks = document(initial(A), {}, Policy(max_age=10), now=1, about={})["checks"]
    assert [(c["status"], c["reason"], c["answer"], c["answer_age_seconds"]) for c in checks] == [
        ("UNKNOWN", None, None, None)
    ] * 2
