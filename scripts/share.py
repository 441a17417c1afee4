"""Writes share/: the shell completions and the man page, from the parser of the command line.

python -m scripts.share          writes the files that differ
python -m scripts.share --check  names them instead, and ends with code 1

The wheel installs them where shells and man look for them.
"""

import re
import sys
from pathlib import Path
from typing import Any

import shtab
from argparse_manpage.manpage import Manpage

from sidecar import __version__
from sidecar.cli.arguments import parser

SHARE = Path(__file__).parents[1] / "share"
COMPLETIONS = {
    "bash": "bash-completion/completions/sidecar",
    "zsh": "zsh/site-functions/_sidecar",
    "fish": "fish/vendor_completions.d/sidecar.fish",
}


def man_page() -> str:
    """The man page, without the day on which it was written."""
    page = str(Manpage(_described()))
    return re.sub(
        r"^\.TH .*$", f'.TH SIDECAR 1 "" "sidecar {__version__}"', page, flags=re.MULTILINE
    )


def _described() -> object:
    made: Any = parser()
    made.man_short_description = "health checks of inference servers"
    return made


def written() -> dict[Path, str]:
    """Every file of share/, and its text."""
    files = {SHARE / path: shtab.complete(parser(), shell) for shell, path in COMPLETIONS.items()}
    return {
        path: text.rstrip("\n") + "\n"
        for path, text in {**files, SHARE / "man/man1/sidecar.1": man_page()}.items()
    }


def main(args: list[str]) -> int:
    """Writes the files that differ, or names them."""
    stale = {p: text for p, text in written().items() if not p.exists() or p.read_text() != text}
    for path, text in stale.items():
        if "--check" in args:
            print(f"{path.relative_to(SHARE.parent)} is not up to date: make share")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"wrote {path.relative_to(SHARE.parent)}")
    return int("--check" in args and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
