"""Writes the version in sidecar/__init__.py into the files that must name it as text.

python -m deploy.version
"""

import re
from collections.abc import Iterator
from pathlib import Path

from sidecar import __version__

ROOT = Path(__file__).parents[1]
NAME = "inference-health-sidecar"

# What is pasted or installed as it is cannot read the version from anywhere else: the tag of the
# image, in the table of a chart's values as well, the versions of a chart, the version that a
# dependency of another chart asks for.
IMAGE = re.compile(rf"((?:\bimage: |your-registry/|docker-image ){NAME}:)\d\S*")
TAG = re.compile(rf"(^  repository: {NAME}\n  tag: )\d\S*", re.MULTILINE)
ROW = re.compile(r"(^\| `image\.tag` \| `)\d[^`]*", re.MULTILINE)
CHART = re.compile(r"(^(?:version|appVersion): )\d\S*", re.MULTILINE)
DEPENDENCY = re.compile(rf"(^ *- name: {NAME}\n +version: )\d\S*", re.MULTILINE)


def with_version(path: Path, text: str, version: str) -> str:
    """The text of a file, with this version wherever the sidecar's is named."""
    patterns = [IMAGE, TAG, ROW, DEPENDENCY]
    if path.name == "Chart.yaml":
        patterns.append(CHART)
    for pattern in patterns:
        text = pattern.sub(rf"\g<1>{version}", text)
    return text


def documents() -> Iterator[Path]:
    """The files that may name the version: manifests, charts and documents."""
    for pattern in ("*.md", "docs/**/*.md", "deploy/**/*.md", "deploy/**/*.yaml"):
        yield from sorted(ROOT.glob(pattern))


def main() -> None:
    """Write the version into each file that names another."""
    for path in documents():
        text = path.read_text()
        written = with_version(path, text, __version__)
        if written != text:
            path.write_text(written)
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
