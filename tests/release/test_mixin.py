"""The mixin gives what the plain files have, and follows its `_config`."""

import json

import yaml

from scripts.mixin import rendered
from tests.docs.pages import ROOT

RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yaml").read_text())["spec"]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "dashboard.json").read_text())


def by_group(part):
    return {group["name"]: group["rules"] for group in part["groups"]}


def test_without_settings_it_is_the_plain_files():
    made = rendered()
    recordings, alerts = by_group(made["rules"]), by_group(made["alerts"])
    together = {
        name: [*recordings.get(name, []), *alerts.get(name, [])]
        for name in dict.fromkeys([*recordings, *alerts])
    }
    assert together == by_group(RULES)
    assert made["dashboards"] == {"inference-health.json": DASHBOARD}


def test_what_differs_between_installations_is_a_setting():
    config = "{ runbookURL: 'https://wiki/', alertLabels: { team: 'ml' }, dashboardUID: 'x' }"
    made = rendered(config)
    for rules in by_group(made["alerts"]).values():
        for rule in rules:
            assert rule["labels"]["team"] == "ml"
            assert rule["annotations"]["runbook_url"] == f"https://wiki/{rule['alert'].lower()}"
    assert made["dashboards"]["inference-health.json"]["uid"] == "x"
