"""Writes what the pages take from the code: settings, metrics, reasons, findings, the diagram.

python -m docs.generate          writes the files that differ
python -m docs.generate --check  names them instead, and ends with code 1

A page has a region for each table, between `<!-- generated: NAME -->` and `<!-- end: NAME -->`.
"""

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from docs import chart, diagram, reference, series

ROOT = Path(__file__).parents[1]
DIAGRAM = ROOT / "docs" / "states.svg"

# The pages, and the regions of each. A region gets its own former text, which may hold notes.
PAGES: Mapping[str, Mapping[str, Callable[[str], str]]] = {
    "README.md": {"main-settings": reference.main_settings},
    "docs/settings.md": {
        "settings-table": reference.settings_table,
        "settings": reference.settings_sections,
    },
    "docs/metrics.md": {"metrics": reference.metrics},
    "docs/how-it-decides.md": {"reasons": reference.reasons, "states": diagram.table},
    "docs/check.md": {"exit-codes": reference.exit_codes},
    "docs/doctor.md": {"mistakes": reference.mistakes},
    "docs/scale.md": {"series": series.formula},
    "deploy/helm/inference-health-sidecar/README.md": {"values": chart.values},
}


def fill(page: str, text: str) -> str:
    """The text of a page with its regions written anew; ValueError when one of them is missing."""
    for name, write in PAGES[page].items():
        start, end = f"<!-- generated: {name} -->\n", f"<!-- end: {name} -->"
        found = re.search(re.escape(start) + r"(.*?)" + re.escape(end), text, re.DOTALL)
        if not found:
            raise ValueError(f"{page} has no region {name}: {start.strip()} ... {end}")
        text = f"{text[: found.start(1)]}\n{write(found[1])}\n{text[found.end(1) :]}"
    return text


def written(root: Path = ROOT) -> dict[Path, str]:
    """Every file that is generated, wholly or in part, and the text that it is to have."""
    pages = {root / page: fill(page, (root / page).read_text()) for page in PAGES}
    return {**pages, root / DIAGRAM.relative_to(ROOT): diagram.picture()}


def main(args: list[str]) -> int:
    """Writes the files that differ, or names them."""
    stale = {
        path: text
        for path, text in written().items()
        if not path.exists() or path.read_text() != text
    }
    for path, text in stale.items():
        name = path.relative_to(ROOT)
        if "--check" in args:
            print(f"{name} is not up to date: make docs")
        else:
            path.write_text(text)
            print(f"wrote {name}")
    return int("--check" in args and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
