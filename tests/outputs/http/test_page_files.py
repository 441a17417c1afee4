"""The status page's files: readable, one document when sent, and no meanings of their own."""

import re
from importlib.resources import files

import pytest

from sidecar.core.rules import ENDPOINT_MEANINGS, ENDPOINTS, MEANINGS
from sidecar.core.status import Status
from sidecar.outputs.http import page

FOLDER = files(page)
NAMES = ("index.html", "style.css", "script.js")
MAX_LENGTH = 100


def read(name: str) -> str:
    return FOLDER.joinpath(name).read_text()


@pytest.mark.parametrize("name", NAMES)
def test_no_line_is_longer_than_a_reader_likes(name):
    assert [line for line in read(name).splitlines() if len(line) > MAX_LENGTH] == []


def test_the_page_is_one_document_that_loads_nothing_else():
    body = page.load().body.decode()
    assert read("style.css") in body
    assert read("script.js") in body
    assert re.findall(r"<script.*?>|<style.*?>|<link.*?>", body) == [
        '<link rel="icon" href="data:,">',
        "<style>",
        "<script>",
    ]
    assert re.findall(r"\bsrc=|@import|\burl\(|\bimport\b", body) == []


def test_the_page_has_no_meanings_of_its_own():
    body = page.load().body.decode()
    meanings = (*MEANINGS.values(), *ENDPOINT_MEANINGS.values())
    assert [text for text in meanings if text in body] == []


def test_the_page_has_no_table_by_reason_endpoint_or_status():
    # A table has what it explains as a key, or as the first string of a pair.
    known = {*MEANINGS, *ENDPOINTS, *Status}
    script = read("script.js")
    keys = re.findall(r"""(?:[{,]|^)\s*["'`]?(\w+)["'`]?\s*:""", script, re.MULTILINE)
    pairs = re.findall(r"""\[\s*["'`](\w+)["'`]\s*,""", script)
    cases = re.findall(r"""\bcase\s+["'`](\w+)["'`]""", script)
    assert {"good", "shape", "unsure"} <= {*keys, *pairs}
    assert known & {*keys, *pairs, *cases} == set()
