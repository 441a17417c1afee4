"""Writes out the matrix: each fault, and what each endpoint was seen to say."""

from typing import Any

import pytest

HEADINGS = ("fault", "what happens", "/readyz", "/healthz", "/livez")


@pytest.fixture
def note(record_property, request):
    """Notes what was seen of one step, for the table at the end of the run."""

    def note(what: str, told: dict[str, str], fault: str = "") -> None:
        name = fault or request.node.originalname.removeprefix("test_").replace("_", " ")
        record_property("matrix", [name, what, told["readyz"], told["healthz"], told["livez"]])

    return note


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints the rows of every test that passed or failed, wherever it ran."""
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    rows = [row for r in reports for key, row in r.user_properties if key == "matrix"]
    if rows:
        terminalreporter.section("the fault matrix")
        for row in (HEADINGS, ["---"] * len(HEADINGS), *sorted(rows, key=lambda row: row[0])):
            terminalreporter.write_line(f"| {' | '.join(row)} |")
        failed = len(terminalreporter.getreports("failed"))
        terminalreporter.write_line(
            f"{len({row[0] for row in rows})} faults, {len(rows)} steps;"
            f" restarted or routed to wrongfully: {failed} (each would be a failure)"
        )
