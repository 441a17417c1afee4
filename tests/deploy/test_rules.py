"""Each alert fires when it should, not when it nearly should, and says what is to be done."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.support import require_program

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
FILES = sorted(Path(__file__).parent.glob("rules_*test.yaml"))
CASES = [case for file in FILES for case in yaml.safe_load(file.read_text())["tests"]]

SPEC = yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text())["spec"]
RULES: list[dict[str, Any]] = [rule for group in SPEC["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}

METRIC = r"(?<![:\w])(?:inference_\w+|kube_\w+|up)(?![:\w])"

each_alert = pytest.mark.parametrize("name", ALERTS)


@pytest.fixture
def promtool(tmp_path):
    """Runs promtool beside plain rules and cases; gives its exit code and all that it said."""
    program = require_program("promtool")
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(SPEC))
    for file in FILES:
        shutil.copy(file, tmp_path)

    def run(*args: str) -> tuple[int, str]:
        done = subprocess.run(
            [program, *args],
            cwd=tmp_path,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return done.returncode, done.stdout

    return run


def test_promtool_finds_no_fault_with_the_rules(promtool):
    code, said = promtool("check", "rules", "rules.yaml")
    assert (code, f"SUCCESS: {len(RULES)} rules found" in said) == (0, True), said


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_in_every_case_the_alerts_that_fire_are_the_ones_that_it_names(promtool, file):
    code, said = promtool("test", "rules", file.name)
    assert code == 0, said


def fires_by_case(alert: str) -> dict[str, bool]:
    """The cases about an alert, and whether it is among those that fire."""
    return {
        case["name"]: any(
            f'alertname="{alert}"' in sample["labels"]
            for expected in case["promql_expr_test"]
            for sample in expected["exp_samples"]
        )
        for case in CASES
        if case["name"].partition(":")[0] == alert
    }


@each_alert
def test_an_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not(name):
    assert set(fires_by_case(name).values()) == {True, False}


def metrics(expr: str) -> set[str]:
    """The scraped metrics that an expression stands on, through what was recorded."""
    for record, recorded in reversed(RECORDED.items()):  # the later stand on the earlier
        expr = expr.replace(record, recorded)
    return set(re.findall(METRIC, expr))


@each_alert
def test_a_case_in_which_an_alert_does_not_fire_has_what_it_looks_at_first(name):
    looked_at = re.search(rf"{METRIC}|{'|'.join(RECORDED)}", ALERTS[name]["expr"])
    assert looked_at
    first = metrics(looked_at[0])
    for case in CASES:
        if case["name"].partition(":")[0] == name:
            played = {series["series"].partition("{")[0] for series in case["input_series"]}
            assert first <= played, case["name"]


@each_alert
def test_an_alert_says_how_urgent_it_is_what_it_means_and_where_to_read_on(name):
    alert = ALERTS[name]
    assert alert.keys() == {"alert", "expr", "for", "labels", "annotations"}
    assert alert["labels"].keys() == {"severity"}
    assert alert["labels"]["severity"] in {"critical", "warning", "info"}
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    for text in ("summary", "description"):
        assert re.fullmatch(r"([A-Z]|{{).*\.", alert["annotations"][text])


def test_every_runbook_url_leads_to_a_section_and_one_command_changes_all():
    command = re.search(r"sed 's#(.*?)#(.*?)#'", (DEPLOY / "prometheus" / "rules.yaml").read_text())
    assert command
    sections = re.findall(r"^## (\w+)$", (DEPLOY / "runbook.md").read_text(), re.MULTILINE)
    urls = {name: alert["annotations"]["runbook_url"] for name, alert in ALERTS.items()}
    assert urls == {
        name: f"{command[1]}/blob/main/deploy/runbook.md#{name.lower()}"
        for name in sections
        if name in ALERTS
    }


def test_the_runbook_has_one_section_an_alert_in_the_order_of_the_rules():
    runbook = (DEPLOY / "runbook.md").read_text()
    assert re.findall(r"^## (InferenceHealth\w*)$", runbook, re.MULTILINE) == list(ALERTS)


@each_alert
def test_a_section_of_the_runbook_says_what_is_to_be_done_and_what_is_not(name):
    runbook = (DEPLOY / "runbook.md").read_text()
    section = runbook.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    bold = re.findall(r"^\*\*(.+?)\*\*", section, re.MULTILINE)
    assert bold == ["Means.", "Confirm.", "Do.", "Do not."]


def test_nothing_pages_before_the_time_that_the_pod_gives_to_loading():
    pod = yaml.safe_load((DEPLOY / "pod.yaml").read_text())
    (server,) = pod["spec"]["containers"]
    probe = server["startupProbe"]
    loading = f"{probe['periodSeconds'] * probe['failureThreshold'] // 60}m"
    waits = {name for name, alert in ALERTS.items() if alert["for"] == loading}
    assert waits == {
        "InferenceHealthNoneStarted",
        "InferenceHealthNotStarted",
        "InferenceHealthModelNotReady",
    }
    judged = re.findall(r" offset (\d+m)", " ".join(rule["expr"] for rule in RULES))
    assert set(judged) == {loading}


@pytest.mark.parametrize(
    ("file", "kind"), [("podmonitor.yaml", "PodMonitor"), ("rules.yaml", "PrometheusRule")]
)
def test_the_operator_takes_the_object(file, kind):
    schemas = yaml.safe_load(Path(__file__).with_name("prometheus_operator.yaml").read_text())
    schema = {"$ref": f"#/{kind}", **schemas}
    jsonschema.Draft202012Validator(schema).validate(
        yaml.safe_load((DEPLOY / "prometheus" / file).read_text())
    )
