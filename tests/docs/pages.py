"""The pages that people read, and what stands in them: headings, links, code."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "benchmarks" / "README.md",
    ROOT / "tests" / "e2e" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "deploy").rglob("*.md")),
]

FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
SHELLS = {"sh", "bash", "shell", "console"}


def name_of(page: Path) -> str:
    """The path of a page, as a test is named by it."""
    return page.relative_to(ROOT).as_posix()


def doc(name: str) -> str:
    """The text of a page in docs/."""
    return (ROOT / "docs" / f"{name}.md").read_text()


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return FENCED.sub("", text)


def blocks(text: str, *languages: str) -> list[str]:
    """The blocks of code in these languages."""
    return [code for language, code in FENCED.findall(text) if language in languages]


def inline(text: str) -> list[str]:
    """The code within sentences and tables."""
    return [code.replace("\\|", "|") for code in re.findall(r"`([^`\n]+)`", prose(text))]


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next one of its level or above."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*)", text, re.DOTALL | re.MULTILINE)
    assert found, heading
    level = len(found[1])
    return re.split(rf"^#{{1,{level}}} ", found[2], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str, heading: str) -> list[list[str]]:
    """The rows of the tables under a heading that begin with code, each a list of cells."""
    lines = [line for line in section(text, heading).splitlines() if re.match(r"\| \[?`", line)]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def headings(text: str) -> list[str]:
    """The headings as they are read, without code marks and links."""
    found = re.findall(r"^#+ (.+?) *$", prose(text), re.MULTILINE)
    return [re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", heading).replace("`", "") for heading in found]


def slug(heading: str) -> str:
    """The anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(text: str) -> list[str]:
    """The anchors of a page."""
    ids = re.findall(r"<a id=\"([^\"]+)\"", text)
    return [*map(slug, headings(text)), *ids]


def links(text: str) -> Iterator[str]:
    """The targets of links and pictures that lead to files."""
    plain = re.sub(r"`[^`\n]*`", "", prose(text))
    found = re.findall(r"\]\(([^)\s]+)\)", plain)
    found += re.findall(r"(?:src|srcset|href)=\"([^\"]+)\"", plain)
    return (target for target in found if not re.match(r"\w+:", target))


def broken_links(page: Path, text: str) -> list[str]:
    """The links of a page that lead nowhere."""
    broken = []
    for link in links(text):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        content = text if target == page else ""
        if target != page and target.suffix == ".md" and target.is_file():
            content = target.read_text()
        if not target.exists() or (anchor and anchor not in anchors(content)):
            broken.append(link)
    return broken


def unstable_anchors(text: str) -> list[str]:
    """Headings whose anchor is another one on GitHub than in the built pages."""
    found = headings(text)
    twice = [heading for heading in found if found.count(heading) > 1]
    other = [h for h in found if re.search(r"--|^-|-$", slug(h))]
    return [*twice, *other]
