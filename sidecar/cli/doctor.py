"""`sidecar doctor`: reads manifests, prints their mistakes, and returns the exit code."""

import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from sidecar.cli import terminal

STDIN = "-"
UNREADABLE = 2


def doctor(files: Sequence[str], output: str, ignore: Collection[str]) -> int:
    """Examine files, `-` for standard input. Return 0: no findings, 1: findings, 2: errors."""
    try:
        from sidecar.doctor.documents import MAX_BYTES
        from sidecar.doctor.examination import RULES, examine
        from sidecar.doctor.report import FORMS
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("ruamel"):
            raise
        print(
            "sidecar: doctor needs ruamel.yaml: pip install 'inference-health-sidecar[doctor]'",
            file=sys.stderr,
        )
        return UNREADABLE
    wrong = [f"ignore: {name!r} is no finding" for name in ignore if name not in RULES]
    read = list(_read(files, MAX_BYTES + 1, wrong))
    if wrong:
        print(*(f"sidecar: {line}" for line in wrong), sep="\n", file=sys.stderr)
    report = examine(read, frozenset(ignore))
    terminal.write(sys.stdout, FORMS[output](report))
    return UNREADABLE if wrong else report.exit_code


def _read(files: Sequence[str], most: int, wrong: list[str]) -> Iterator[tuple[str, bytes]]:
    """Read the files; of one that is too large, a little more than is allowed."""
    for name in files:
        try:
            if name == STDIN:
                yield "<stdin>", sys.stdin.buffer.read(most)
            else:
                with Path(name).open("rb") as file:
                    yield name, file.read(most)
        except OSError as error:
            wrong.append(f"{name}: cannot be read: {error.strerror}")
