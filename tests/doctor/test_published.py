"""Manifests as people publish them: what is found is what a reader would say, and nothing else."""

import re
from pathlib import Path

import pytest

from sidecar.doctor.examination import examine
from sidecar.doctor.findings import edit
from tests.doctor.spoiling import found, parsed, written

TEXT = Path(__file__).with_name("published.yaml").read_text()
PARTS = re.split(r"(?m)^---\n(?=# \d+ )", TEXT)
NUMBERED = re.compile(
    r"^# (\d+) (.*)\n(?:#(?! judged).*\n)*# judged: (.*(?:\n# {3}.*)*)", re.MULTILINE
)


def judged(part: str) -> tuple[str, set[str]]:
    """Which one it is, and what is to be found."""
    match = NUMBERED.search(part)
    assert match, part
    return f"{match[1]} {match[2]}", set(re.findall(r"IHS\d+", match[3]))


CASES = {name: (part, expected) for part in PARTS for name, expected in [judged(part)]}


def test_there_are_at_least_forty_of_them_each_with_its_number():
    assert [int(name.split()[0]) for name in CASES] == list(range(1, len(CASES) + 1))
    assert len(CASES) >= 40


@pytest.mark.parametrize("name", CASES)
def test_what_is_found_is_what_a_reader_would_say(name):
    part, expected = CASES[name]
    report = examine([("published.yaml", part.encode())])
    assert report.problems == []
    found = {finding.mistake.identifier for finding in report.findings}
    assert found == expected, [(f.mistake.identifier, f.found.message) for f in report.findings]


@pytest.mark.parametrize("name", CASES)
def test_what_is_corrected_has_no_other_mistake(name):
    part, expected = CASES[name]
    for way in sorted(expected):
        assert set(found(corrected(part, way))) <= expected, way


def corrected(text: str, way: str) -> str:
    """The text once every edit for a mistake was made."""
    documents, _ = parsed(text)
    report = examine([("published.yaml", text.encode())])
    for finding in report.findings:
        if finding.mistake.identifier == way:
            first = finding.found.document
            (same,) = [d for d in documents if (d.kind, d.name) == (first.kind, first.name)]
            for path, value in finding.found.edits:
                edit(same.data, path, value)
    return written(documents)


def test_the_pods_of_one_stream_are_told_apart():
    report = examine([("published.yaml", TEXT.encode())])
    expected = [ids for name, (_, ids) in CASES.items() if "web server" not in name]
    found = [{f.mistake.identifier for f in one.findings} for one in report.examined]
    # The runtimes come after the workloads.
    assert sorted(map(sorted, found)) == sorted(map(sorted, expected))
