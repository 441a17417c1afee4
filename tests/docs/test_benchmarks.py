"""The table of what the benchmarks are to reach: how it is made, and that the page has it."""

import re

from benchmarks.figures import table
from benchmarks.goals import GOALS, Goal, read, report
from tests.docs.pages import ROOT

FIRST = GOALS[0]


def measured(figure: float, goal: Goal = FIRST) -> str:
    (_, _, line) = report({goal.name: {goal.row: {goal.column: figure}}}).splitlines()
    return line.split(" | ")[2]


def test_what_is_not_reached_is_bold():
    assert measured(FIRST.limit) == f"{FIRST.limit:g}"
    assert measured(FIRST.limit + 0.1) == f"**{FIRST.limit + 0.1:g}**"
    (floor, *_) = [goal for goal in GOALS if goal.at_least]
    assert measured(floor.limit + 0.1, floor) == f"{floor.limit + 0.1:g}"
    assert measured(floor.limit - 0.1, floor) == f"**{floor.limit - 0.1:g}**"


def test_it_is_judged_as_it_is_shown():
    assert measured(FIRST.limit + 0.0001) == f"{FIRST.limit:g}"


def test_what_has_not_run_is_left_out():
    assert len(report({}).splitlines()) == 2
    assert len(report({FIRST.name: {"another": {"median": 1}}}).splitlines()) == 2


def test_the_tables_of_the_benchmarks_are_read():
    lines = ["## x", table({"a": [1, 2, 3]}), "text | text", table({"b": [4]}, percentile=True)]
    assert read("\n".join(lines).splitlines()) == {
        "a": {"min": 1, "median": 2, "max": 3, "runs": 3},
        "b": {"min": 4, "median": 4, "99th percentile": 4, "max": 4, "runs": 1},
    }


def test_the_page_has_every_goal():
    page = (ROOT / "benchmarks" / "README.md").read_text()
    every: dict[str, dict[str, dict[str, float]]] = {g.name: {} for g in GOALS}
    for goal in GOALS:
        every[goal.name].setdefault(goal.row, {})[goal.column] = goal.limit
    for line in report(every).splitlines():
        figure, limit, _, name = line.strip("| ").split(" | ")
        shown = rf"^\| {re.escape(figure)} \| {re.escape(limit)} \| [^|]+ \| {name} \|$"
        assert re.search(shown, page, re.MULTILINE), figure
