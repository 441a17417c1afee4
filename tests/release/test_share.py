"""Completions and the man page are those of the parser, and shells take them."""

import shutil
import subprocess

import pytest

from scripts.share import COMPLETIONS, SHARE, written
from sidecar.cli.arguments import COMMANDS


def test_the_files_are_up_to_date():
    stale = [str(path) for path, text in written().items() if path.read_text() != text]
    assert stale == [], "run `make share`"


def completed(line: str) -> list[str]:
    """What bash offers after a line."""
    script = f"""
        source {SHARE / COMPLETIONS["bash"]}
        COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_LINE={line!r}
        COMP_POINT=${{#COMP_LINE}}
        $(complete -p sidecar | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, timeout=20
    )
    return done.stdout.split()


@pytest.mark.parametrize("command", COMMANDS)
def test_bash_completes_the_commands(command):
    assert command in completed(f"sidecar {command[:3]}")


def test_bash_completes_flags():
    assert "--period-seconds" in completed("sidecar run --per")
    assert "--ignore" in completed("sidecar doctor --ig")


def test_man_finds_no_fault_in_its_page():
    if not (program := shutil.which("groff")):
        pytest.skip("groff is not installed")
    page = SHARE / "man/man1/sidecar.1"
    done = subprocess.run(
        [program, "-man", "-Tutf8", "-ww", str(page)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    for command in COMMANDS:
        assert f"sidecar {command}" in done.stdout
