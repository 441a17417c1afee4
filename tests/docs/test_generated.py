"""What the pages take from the code is as the generator writes it."""

import re
import shutil
import subprocess
import sys

import pytest

from docs import diagram, reference
from docs.chart import VALUES
from docs.generate import PAGES, fill, written
from sidecar.config import Settings
from sidecar.core.reasons import REASONS, Reason
from sidecar.core.status import Status
from tests.docs.pages import PAGES as ALL_PAGES
from tests.docs.pages import ROOT, doc, headings, name_of, rows

SETTINGS = "docs/settings.md"


@pytest.mark.parametrize(("path", "text"), written().items(), ids=lambda v: getattr(v, "name", ""))
def test_a_committed_file_is_what_the_generator_writes(path, text):
    assert path.read_text() == text


@pytest.fixture
def checkout(tmp_path):
    """A copy of the pages and the code."""
    for name in ("docs", "sidecar"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for page in PAGES:
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / page, tmp_path / page)
    chart = VALUES.relative_to(ROOT)
    shutil.copy(VALUES, tmp_path / chart)
    return tmp_path


def generate(checkout, *flags):
    """Runs the generator in a copy."""
    command = [sys.executable, "-m", "docs.generate", *flags]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_a_page_that_was_changed_by_hand_is_named_and_written_again(checkout):
    page = checkout / SETTINGS
    right = page.read_text()
    page.write_text(right.replace("| default | `5` |", "| default | `6` |"))
    named = f"{SETTINGS} is not up to date: make docs\n"
    assert generate(checkout, "--check") == (1, named)
    assert generate(checkout) == (0, f"wrote {SETTINGS}\n")
    assert page.read_text() == right
    assert generate(checkout, "--check") == (0, "")


def test_a_setting_that_is_new_gets_its_section_and_the_notes_of_others_stay():
    text = doc("settings")
    without = re.sub(r"### jitter\n.*?(?=### )", "", text, flags=re.DOTALL)
    assert without != text
    filled = fill(SETTINGS, without)
    note = "\n<!-- notes -->\nThe spread is random: half of the fraction up, half down.\n"
    assert note in text
    assert filled == text.replace(note, "", 1)


def test_a_region_that_is_missing_is_named():
    text = doc("settings").replace("<!-- generated: settings -->", "")
    with pytest.raises(ValueError, match=r"docs/settings\.md has no region settings: "):
        fill(SETTINGS, text)


def test_every_region_of_a_page_is_known_to_the_generator():
    pages = [page for page in ALL_PAGES if page.name != "CONTRIBUTING.md"]  # it names them
    found = {name_of(p): re.findall(r"<!-- generated: (\S+) -->", p.read_text()) for p in pages}
    known = {page: list(regions) for page, regions in PAGES.items()}
    assert {page: regions for page, regions in found.items() if regions} == known


def test_every_setting_has_a_section_in_its_order():
    sections = [
        heading for heading in headings(doc("settings")) if heading in Settings.model_fields
    ]
    assert sections == list(Settings.model_fields)


def test_a_default_is_written_as_a_person_writes_it():
    assert [row[1] for row in rows(doc("settings"), "All settings")] == [
        reference.default(name) for name in Settings.model_fields
    ]
    shown = {
        "period_seconds": "`5`",
        "models": "none",
        "headers": "none",
        "log_level": "`info`",
        "max_age_seconds": "3 periods and the timeout",
        "http_host": "all interfaces, both families",
    }
    assert {name: reference.default(name) for name in shown} == shown


def test_every_reason_has_an_anchor_and_its_effects():
    table = {row[0].split("`")[1]: row[2:4] for row in rows(doc("how-it-decides"), "Reasons")}
    assert table == {
        reason: [reference.READINESS[row.readiness], reference.LIVENESS[row.liveness]]
        for reason, row in REASONS.items()
    }
    named = set(headings(doc("how-it-decides")))
    assert [reason for reason in [*Reason, "unknown", "stale"] if reason not in named] == []


def test_every_metric_has_a_line_with_its_type_and_labels():
    table = {row[0].strip("`"): row[1:3] for row in rows(doc("metrics"), "All metrics")}
    assert table["inference_poll_failures_total"] == ["counter", "`rpc`, `reason`"]
    assert table["inference_poll_duration_seconds"] == ["histogram", "`rpc`"]
    assert table["inference_sidecar_build_info"] == ["info", "`version`, `python`, `grpcio`"]
    assert list(table) == [reference.metric_name(family) for family in reference.families()]


def test_the_diagram_has_every_move_of_the_state_machine_and_no_other():
    picture = diagram.picture()
    moves = list(diagram.moves())
    unknown, serving, not_serving = Status
    ends = {(unknown, serving): 1, (unknown, not_serving): 2}
    ends |= {(serving, not_serving): 2, (not_serving, serving): 1}
    assert {pair: sum(m[:2] == pair for m in moves) for pair in {m[:2] for m in moves}} == ends
    assert picture.count("<line ") == len(ends)
    assert len(re.findall(r"<text x=", picture)) == len(moves)
