"""Where the request of each canary comes from, and what is wrong with one."""

import json

import pytest

from sidecar.config import BadSettings, load
from sidecar.config.files import fingerprints, paths, with_files
from sidecar.core.canary import CanaryRules
from sidecar.core.checks import canary
from sidecar.core.status import Canaries
from sidecar.payloads.given import Given

REQUEST = {"inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": [1]}]}
EXPECT = {"outputs": [{"name": "y", "data": [2]}]}
A, B = canary("a"), canary("b", "3")


def loaded(**settings):
    return with_files(load({name: str(value) for name, value in settings.items()}))


def written(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_by_default_there_is_none():
    assert loaded(models="a,b:3").canaries == {}


def test_auto_builds_one_for_each_model():
    found = loaded(models="a,b:3", canary="auto")
    assert found.canaries == {A: None, B: None}
    assert found.checks[-2:] == (A, B)
    assert found.judging == Canaries(CanaryRules(), frozenset())


@pytest.mark.parametrize("off", ["off", False])
def test_a_models_own_canary_wins(tmp_path, off):
    written(tmp_path / "c.json", REQUEST)
    models = [
        {"name": "a", "canary": off},
        {"name": "b", "version": 3, "canary": "auto"},
        {"name": "c", "canary": off},
    ]
    found = loaded(models=json.dumps(models), canary="auto", canary_dir=tmp_path)
    assert found.canaries == {B: None}
    assert loaded(models=json.dumps(models)).canaries == {B: None}


def test_a_request_may_stand_in_the_settings():
    own = {"request": REQUEST, "expect": EXPECT, "tolerance": 0.5}
    found = loaded(models=json.dumps([{"name": "a", "canary": own}, {"name": "d"}]))
    assert found.canaries == {A: Given(REQUEST, EXPECT, 0.5)}
    assert found.judging.given == {A}


def test_it_may_stand_in_files(tmp_path):
    request = written(tmp_path / "r.json", REQUEST)
    expect = written(tmp_path / "e.json", EXPECT)
    own = {"request": str(request), "expect": str(expect)}
    found = loaded(models=json.dumps([{"name": "a", "canary": own}]))
    assert found.canaries == {A: Given(request.read_bytes(), expect.read_bytes())}
    assert paths(found.settings) == [request, expect]


def test_a_file_in_the_directory_switches_the_canary_on(tmp_path):
    written(tmp_path / "a.json", REQUEST)
    written(tmp_path / "b@3.json", REQUEST)
    written(tmp_path / "b@3.expect.json", EXPECT)
    found = loaded(models="a,b:3,d", canary_dir=tmp_path)
    plain, with_expectation = found.canaries[A], found.canaries[B]
    assert (plain and plain.expected, with_expectation and with_expectation.outputs) == (
        None,
        tuple(EXPECT["outputs"]),
    )
    assert set(found.canaries) == {A, B}


def test_a_file_that_appears_is_a_change(tmp_path):
    found = loaded(models="a", canary_dir=tmp_path)
    assert fingerprints(paths(found.settings)) == found.seen
    written(tmp_path / "a.json", REQUEST)
    assert fingerprints(paths(found.settings)) != found.seen


@pytest.mark.parametrize("name", ["../a", "a/b", ".hidden", "/etc/passwd"])
def test_a_name_that_is_no_file_name_never_becomes_a_path(tmp_path, name):
    (tmp_path / "in").mkdir()
    written(tmp_path / "a.json", REQUEST)
    written(tmp_path / "in" / ".hidden.json", REQUEST)
    models = json.dumps([{"name": name}])
    found = loaded(models=models, canary_dir=tmp_path / "in")
    assert (found.canaries, paths(found.settings)) == ({}, [])
    models = json.dumps([{"name": "a", "version": "../x"}])
    assert paths(load({"models": models, "canary_dir": str(tmp_path)})) == []


def test_what_is_wrong_is_named_all_at_once(tmp_path):
    written(tmp_path / "a.json", "{")
    models = [
        {"name": "a"},
        {"name": "b", "canary": {"request": {}}},
        {"name": "c", "canary": {"request": str(tmp_path / "none.json")}},
        {"name": "d", "canary": {"request": REQUEST, "expect": {"outputs": []}}},
    ]
    with pytest.raises(BadSettings) as error:
        loaded(models=json.dumps(models), canary_dir=tmp_path)
    file, empty, missing, nothing = error.value.lines
    assert file.startswith(f"canary:a: {tmp_path}/a.json: not a request in V2 JSON: the body is")
    assert empty == "canary:b: not a request in V2 JSON: it has no inputs"
    assert missing == f"canary:c: {tmp_path}/none.json cannot be read: No such file or directory"
    assert nothing == "canary:d: not an expectation in V2 JSON: it has no outputs"


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"canary": "on"}, "canary: given 'on'"),
        ({"canary_dir": "/not/there"}, "canary_dir: given '/not/there'"),
        ({"canary_failure_threshold": 5}, "canary_failure_threshold: .*more than canary_window, 4"),
        (
            {"canary_restart_after_seconds": 119},
            r"canary_restart_after_seconds: .*shorter than .* x \(period \+ timeout\), 120",
        ),
        ({"models": '[{"name": "a", "canary": "on"}]'}, "models: .*canary"),
        ({"models": '[{"name": "a", "canary": {"expect": {}}}]'}, "models: .*canary"),
    ],
)
def test_a_bad_setting_is_refused(settings, reason):
    with pytest.raises(BadSettings, match=f"(?s){reason}"):
        loaded(**settings)


def test_the_rules_are_those_of_the_settings():
    found = loaded(
        canary_period_seconds=1,
        canary_timeout_seconds=2,
        canary_failure_threshold=3,
        canary_window=4,
        canary_success_threshold=5,
        canary_warmup_requests=6,
        canary_restart_after_seconds=700,
        canary_max_restarts_per_hour=8,
    )
    assert found.judging.rules == CanaryRules(1, 2, 3, 4, 5, 6, 700, 8)
