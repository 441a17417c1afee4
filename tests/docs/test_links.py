"""Every link in the pages leads to a file and a heading that exist."""

import re

import pytest

from docs.outside import absolute
from tests.docs.pages import PAGES, ROOT, broken_links, links, name_of, unstable_anchors

EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=name_of)


@EACH_PAGE
def test_every_link_leads_to_a_file_and_a_heading(page):
    assert broken_links(page, page.read_text()) == []


@EACH_PAGE
def test_a_heading_has_the_same_anchor_on_github_and_in_the_built_pages(page):
    if page.parent.name == "docs":
        assert unstable_anchors(page.read_text()) == []


@pytest.mark.parametrize(
    "link",
    [
        "[x](docs/instal.md)",
        "[x](docs/install.md#helmet)",
        "[x](#why-not)",
        "![x](docs/page.png)",
        '<img src="docs/page.png">',
        '<source srcset="docs/page.png">',
        "[x](LICENSE#a-heading)",
    ],
)
def test_a_link_that_leads_nowhere_is_found(link):
    page = ROOT / "README.md"
    assert len(broken_links(page, f"# Why\n\n{link}\n")) == 1


@pytest.mark.parametrize(
    "link", ["[x](docs/install.md#helm)", "[x](#why)", "[x](docs/)", "`[x](nowhere.md)`"]
)
def test_a_link_that_leads_somewhere_is_none_of_them(link):
    assert broken_links(ROOT / "README.md", f"# Why\n\n{link}\n") == []


@pytest.mark.parametrize("text", ["# A\n\n## A\n", "# A - b\n", "# A\n## - b\n"])
def test_a_heading_whose_anchors_differ_is_found(text):
    assert unstable_anchors(text) != []


def test_every_page_is_in_the_navigation_and_in_the_list_of_pages():
    pages = {page.name for page in (ROOT / "docs").glob("*.md")}
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    assert sorted(re.findall(r": (\S+\.md)$", navigation, re.MULTILINE)) == sorted(pages)
    assert {*links((ROOT / "docs" / "README.md").read_text())} == pages - {"README.md"}


def test_the_built_pages_name_other_files_by_the_address_of_the_repository():
    text = (
        "[a](../deploy/pod.yaml) [b](../deploy/kustomize) [c](../CONTRIBUTING.md#tests) [d](e.md)"
    )
    there = "https://git.example/here"
    assert list(links(absolute(text, there))) == ["e.md"]
    assert absolute(text, there) == (
        f"[a]({there}/blob/main/deploy/pod.yaml) [b]({there}/tree/main/deploy/kustomize)"
        f" [c]({there}/blob/main/CONTRIBUTING.md#tests) [d](e.md)"
    )
