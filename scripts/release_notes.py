"""Prints the section of one version in CHANGELOG.md, for the notes of its release.

python -m scripts.release_notes VERSION
"""

import re
import sys
from pathlib import Path

CHANGELOG = Path(__file__).parents[1] / "CHANGELOG.md"


def notes(version: str, changelog: str) -> str:
    """The section of a version without its heading; LookupError when it has none."""
    pattern = rf"^## {re.escape(version)}(?: [^\n]*)?\n(.*?)(?=^## |\Z)"
    section = re.search(pattern, changelog, re.MULTILINE | re.DOTALL)
    if not section or not section[1].strip():
        raise LookupError(f"CHANGELOG.md has nothing under a heading '## {version}'")
    return section[1].strip() + "\n"


if __name__ == "__main__":
    try:
        print(notes(sys.argv[1].removeprefix("v"), CHANGELOG.read_text()), end="")
    except LookupError as error:
        sys.exit(str(error))
