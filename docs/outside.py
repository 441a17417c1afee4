"""Turns the pages' links to other files of the repository into addresses, when the site is built.

A hook of mkdocs. In the repository `../deploy/pod.yaml` is a link that works; in the site,
which has the pages only, it leads to the address that mkdocs.yml names.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Any

ROOT = Path(__file__).parents[1]


def absolute(text: str, repository: str) -> str:
    """The text of a page, its links that begin with `../` made absolute."""

    def address(link: re.Match[str]) -> str:
        path, hash_sign, anchor = link[1].partition("#")
        kind = "tree" if (ROOT / path).is_dir() else "blob"
        return f"]({repository}/{kind}/main/{PurePosixPath(path)}{hash_sign}{anchor})"

    return re.sub(r"\]\(\.\./([^)\s]+)\)", address, text)


def on_page_markdown(markdown: str, /, *, config: Any, **_: Any) -> str:
    """Called by mkdocs for each page before it is rendered."""
    return absolute(markdown, config.extra["repository"])
