"""The committed dashboard is the one that the code builds, and belongs to no one installation."""

import json
import re

from deploy.grafana.dashboard import FILE, text

BOARD = json.loads(FILE.read_text())
ROWS = [panel for panel in BOARD["panels"] if panel["type"] == "row"]
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]


def test_the_file_is_what_the_code_builds():
    assert FILE.read_text() == text(), "run `make dashboard`"


def test_its_address_stays_and_it_shows_what_it_is_for():
    assert BOARD["uid"] == "inference-health"
    assert [row["title"] for row in ROWS] == [
        "Fleet",
        "Pod $pod",
        "Models in $pod",
        "Questions of $pod",
    ]


def test_it_names_no_host_and_no_data_source_of_somebody():
    assert "//" not in FILE.read_text()
    sources = [panel["datasource"] for panel in PANELS]
    sources += [v["datasource"] for v in BOARD["templating"]["list"] if "datasource" in v]
    assert {tuple(sorted(source.items())) for source in sources} == {
        (("type", "prometheus"), ("uid", "${datasource}"))
    }
    assert "id" not in BOARD


def test_only_panels_that_grafana_brings_along_are_used():
    assert {panel["type"] for panel in PANELS} == {
        "bargauge",
        "heatmap",
        "stat",
        "state-timeline",
        "table",
        "timeseries",
    }


def test_each_variable_that_is_used_is_one_to_choose():
    known = {variable["name"] for variable in BOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", FILE.read_text()))
    assert used - {"__rate_interval", "__all"} == known


def test_panels_and_their_queries_can_be_told_apart():
    for numbers in ([p["id"] for p in BOARD["panels"]], [p["title"] for p in BOARD["panels"]]):
        assert len(set(numbers)) == len(numbers)
    for panel in PANELS:
        assert [target["refId"] for target in panel["targets"]] == list(
            "AB"[: len(panel["targets"])]
        )


def test_pods_of_one_name_in_two_namespaces_can_be_told_apart():
    targets = [target for panel in PANELS for target in panel["targets"]]
    legends = {t["legendFormat"] for t in targets if 'pod="$pod"' in t["expr"]}
    assert {legend.partition(" ")[0] for legend in legends - {"{{le}}"}} == {
        "{{namespace}}/{{pod}}"
    }


def test_no_panel_lies_over_another_or_beyond_the_edge():
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
