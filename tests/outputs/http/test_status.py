"""The one JSON document, held to its schema."""

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from sidecar.core.checks import SERVER_LIVE, SERVER_READY, Check
from sidecar.core.reasons import Reason
from sidecar.core.repository import Repository, Row, State
from sidecar.core.rules import ENDPOINT_MEANINGS, ENDPOINTS, MEANINGS, STALE, UNKNOWN
from sidecar.core.snapshot import Policy, Quorum, Snapshot
from sidecar.core.status import Probe, Status
from sidecar.core.target import Server
from sidecar.history import FAILURES, LETTERS, STRIP, History, Past
from sidecar.outputs.http.status import BECAUSE, Sidecar, document, encode
from tests.core.folding import CHECKS, A, B, change, fold, initial, saw
from tests.core.test_properties import seen, thresholds

SCHEMA = json.loads(files("sidecar.outputs.http").joinpath("status.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)


class Moment(NamedTuple):
    """What a document is made from."""

    snapshot: Snapshot
    pasts: Mapping[Check, Past]
    sidecar: Sidecar


def moment(health, now, *, policy=None, seen=(), **others) -> Moment:
    """A moment of the health, with what was seen before it."""
    history = History(health.checks)
    for one in seen:
        history(change(health, one))
    about = {"version": "1", "server_url": "h:1", "server": Server(), "reload_successful": True}
    return Moment(
        Snapshot(fold(health, *seen), now, policy or Policy(max_age=10)),
        history.pasts(),
        Sidecar(**{**about, "loaded_at": health.started_at, **others}),
    )


def of(one: Moment):
    """The document, which is the same as JSON and holds to the schema."""
    got = json.loads(encode(*one))
    assert got == document(*one)
    VALIDATOR.validate(got)
    return got


def test_the_document_tells_everything_in_plain_values():
    answers = (
        saw(SERVER_LIVE, "ok", at=101, duration=0.25),
        saw(A, "error", at=102, duration=0.25),
        saw(A, "not_ready", at=103, duration=0.5),
        saw(A, "not_ready", at=104, duration=0.5),
    )
    server = {
        "name": "server-live",
        "rpc": "ServerLive",
        "model": "",
        "version": "",
        "required": True,
        "status": "SERVING",
        "reason": "ok",
        "status_seconds": 11.5,
        "answer": "ok",
        "answer_age_seconds": 11.5,
        "answer_stale": True,
        "answer_duration_seconds": 0.25,
        "history": ".",
        "failures": [],
    }
    health = initial(SERVER_LIVE, SERVER_READY, A, now=100)
    policy = Policy(max_age=10, require_server_ready=False)
    assert of(moment(health, 112.5, policy=policy, seen=answers, loaded_at=102)) == {
        "version": "1",
        "server_url": "h:1",
        "server": {"name": "unknown", "version": ""},
        "repository": None,
        "uptime_seconds": 12.5,
        "draining": False,
        "reload": {"successful": True, "settings_age_seconds": 10.5},
        "endpoints": {
            "healthz": {
                "passing": True,
                "meaning": ENDPOINT_MEANINGS["healthz"],
                "failing": 0,
                "because": [],
            },
            "readyz": {
                "passing": False,
                "meaning": ENDPOINT_MEANINGS["readyz"],
                "failing": 3,
                "because": [
                    {"check": "server-live", "reason": "stale"},
                    {"check": "server-ready", "reason": "unknown"},
                    {"check": "model:a", "reason": "not_ready"},
                ],
            },
            "startupz": {
                "passing": False,
                "meaning": ENDPOINT_MEANINGS["startupz"],
                "failing": 2,
                "because": [
                    {"check": "server-ready", "reason": "unknown"},
                    {"check": "model:a", "reason": "not_ready"},
                ],
            },
            "livez": {
                "passing": True,
                "meaning": ENDPOINT_MEANINGS["livez"],
                "failing": 0,
                "because": [],
            },
        },
        "models": {"required": 1, "needed": 1, "ready": 0},
        "letters": {letter: answer for answer, letter in LETTERS.items()},
        "meanings": MEANINGS,
        "checks": [
            {**server, "probe": "liveness"},
            {**server, "probe": "readiness"},
            {
                "name": "server-ready",
                "rpc": "ServerReady",
                "model": "",
                "version": "",
                "probe": "readiness",
                "required": False,
                "status": "UNKNOWN",
                "reason": None,
                "status_seconds": 12.5,
                "answer": None,
                "answer_age_seconds": None,
                "answer_stale": False,
                "answer_duration_seconds": None,
                "history": "",
                "failures": [],
            },
            {
                "name": "model:a",
                "rpc": "ModelReady",
                "model": "a",
                "version": "",
                "probe": "readiness",
                "required": True,
                "status": "NOT_SERVING",
                "reason": "not_ready",
                "status_seconds": 9.5,
                "answer": "not_ready",
                "answer_age_seconds": 8.5,
                "answer_stale": False,
                "answer_duration_seconds": 0.5,
                "history": "enn",
                "failures": [
                    {
                        "answer": "not_ready",
                        "times": 2,
                        "first_age_seconds": 9.5,
                        "last_age_seconds": 8.5,
                        "duration_seconds": 0.5,
                    },
                    {
                        "answer": "error",
                        "times": 1,
                        "first_age_seconds": 10.5,
                        "last_age_seconds": 10.5,
                        "duration_seconds": 0.25,
                    },
                ],
            },
        ],
    }


def test_a_model_that_is_not_required_and_one_that_the_policy_spares_are_told_so():
    policy = Policy(max_age=10, quorum=Quorum(1, 0), optional=frozenset({B}))
    seen = [saw(check, "ok") for check in (SERVER_LIVE, SERVER_READY, A)]
    got = of(moment(initial(), 1, policy=policy, seen=seen))
    assert got["endpoints"]["readyz"] == {
        "passing": True,
        "meaning": ENDPOINT_MEANINGS["readyz"],
        "failing": 1,
        "because": [{"check": "model:b:3", "reason": "unknown"}],
    }
    assert got["models"] == {"required": 1, "needed": 1, "ready": 1}
    assert [check["required"] for check in got["checks"]] == [True, True, True, True, False]


def test_of_many_that_fail_the_first_are_told_and_the_others_counted():
    many = [A._replace(model=f"m{number}") for number in range(100)]
    readyz = of(moment(initial(SERVER_LIVE, SERVER_READY, *many), 1))["endpoints"]["readyz"]
    assert (readyz["failing"], len(readyz["because"])) == (102, BECAUSE)


def test_a_drain_and_a_refused_reload_are_told():
    got = of(moment(initial().drain(), 1, reload_successful=False))
    assert (got["draining"], got["reload"]["successful"]) == (True, False)
    assert got["endpoints"]["readyz"]["because"][0] == {"check": "drain", "reason": "shutting_down"}


@given(
    st.lists(seen, max_size=30),
    thresholds,
    st.floats(0, 100),
    st.builds(Policy, st.floats(1, 50), st.builds(Quorum, st.integers(0, 3), st.integers(0, 100))),
    st.booleans(),
)
def test_whatever_is_seen_the_document_holds_to_the_schema(polls, limits, later, policy, drains):
    now, observations = 0.0, []
    for check, answer, gap in polls:
        now += gap
        observations.append(saw(check, answer, now))
    health = initial(*CHECKS, failure=limits.failure, success=limits.success)
    one = moment(health, now + later, policy=policy, seen=observations)
    drained = replace(one.snapshot, health=one.snapshot.health.drain())
    got = of(one._replace(snapshot=drained) if drains else one)
    verdicts = {
        name: rule(Snapshot(one.snapshot.health, now + later, policy))
        for name, rule in ENDPOINTS.items()
    }
    if not drains:
        assert {name: said["passing"] for name, said in got["endpoints"].items()} == {
            name: verdict.passing for name, verdict in verdicts.items()
        }


RPCS = ["ServerLive", "ServerReady", "ModelReady", "ModelInfer", "RepositoryIndex"]


def test_the_closed_lists_of_the_schema_are_those_of_the_code():
    definitions = SCHEMA["$defs"]
    check = definitions["check"]["properties"]
    endpoints = SCHEMA["properties"]["endpoints"]
    reason = definitions["endpoint"]["properties"]["because"]["items"]["properties"]["reason"]
    letters = SCHEMA["properties"]["letters"]["properties"]
    assert definitions["answer"]["enum"] == list(Reason)
    assert definitions["repository_state"]["enum"] == list(State)
    assert definitions["failure"]["enum"] == [a for a in Reason if a is not Reason.OK]
    assert check["rpc"]["enum"] == RPCS
    assert check["probe"]["enum"] == list(Probe)
    assert sorted(check["status"]["enum"]) == sorted(Status)
    assert endpoints["required"] == list(endpoints["properties"]) == list(ENDPOINTS)
    assert list(ENDPOINT_MEANINGS) == list(ENDPOINTS)
    assert reason["anyOf"][1]["enum"] == [UNKNOWN, STALE]
    assert list(SCHEMA["properties"]["meanings"]["properties"]) == list(MEANINGS)
    assert {k: v["const"] for k, v in letters.items()} == {v: k for k, v in LETTERS.items()}
    assert check["history"]["pattern"] == f"^[{''.join(LETTERS.values())}]{{0,{STRIP}}}$"
    assert check["failures"]["maxItems"] == FAILURES
    assert check["canary"]["properties"]["durations_seconds"]["maxItems"] == STRIP
    assert definitions["endpoint"]["properties"]["because"]["maxItems"] == BECAUSE


def objects(schema):
    """Every schema of an object in this one."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for part in schema.values():
            yield from objects(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from objects(part)


def test_the_schema_is_one_and_lets_nothing_in_or_out_unseen():
    Draft202012Validator.check_schema(SCHEMA)
    for one in objects(SCHEMA):
        properties = [name for name in one["properties"] if name != "canary"]  # of canaries alone
        assert (one["additionalProperties"], one["required"]) == (False, properties)


@pytest.mark.parametrize("name", ['a"b', "</script>", "é", "a\nb", "\ud800", "x" * 300])
def test_any_name_of_a_model_is_told_as_it_is(name):
    got = of(moment(initial(SERVER_LIVE, SERVER_READY, A._replace(model=name)), 1))
    assert (got["checks"][3]["name"], got["checks"][3]["model"]) == (f"model:{name}", name)


def test_the_repository_is_told_with_bounded_reasons():
    rows = [Row("a", "1", State.READY), Row("b", "", State.UNAVAILABLE, "x" * 10_000)]
    one = moment(initial(), 0, repository=Repository(tuple(rows), ("a", "b"), left_out=2))
    found = of(one)["repository"]
    assert (found["left_out"], found["states"]["ready"], found["states"]["missing"]) == (2, 1, 0)
    assert found["models"][1] == {
        "name": "b",
        "version": "",
        "state": "unavailable",
        "reason": "x" * 500,
    }
