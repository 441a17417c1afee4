"""What a release is made of, by the targets that the release workflow runs."""

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

import sidecar
from scripts.release_notes import notes
from tests.docs.pages import ROOT
from tests.support import clean_environment

NAME = f"inference_health_sidecar-{sidecar.__version__}"


def make(folder: Path, *targets: str) -> None:
    """Runs targets in a copy of the checkout, with the environment of this one."""
    environment = {k: v for k, v in clean_environment().items() if not k.startswith("MAKE")}
    venv = Path(os.environ.get("VIRTUAL_ENV", ROOT / ".venv"))
    done = subprocess.run(
        # Not made again: the environment would hold the copy in the place of this checkout.
        ["make", f"VENV={venv}", f"--assume-old={venv}/.release", *targets],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def checkouts(tmp_path_factory):
    """Two copies of the commit in folders of different names, with everything built."""
    made = []
    for name in ("one", "another-place"):
        folder = tmp_path_factory.mktemp(name) / "checkout"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
        for changed in ("Makefile", "pyproject.toml"):
            shutil.copy(ROOT / changed, folder / changed)
        make(folder, "dist", "sbom", "chart", "mixin")
        made.append(folder / "dist")
    return made


def digests(folder: Path, pattern: str) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob(pattern)}


@pytest.mark.parametrize("pattern", ["*.whl", "*.tar.gz", "*.cdx.json", "mixin/*"])
def test_two_builds_are_equal_to_the_bit(checkouts, pattern):
    first, second = (digests(folder, pattern) for folder in checkouts)
    assert first
    assert first == second


def test_the_wheel_brings_completions_and_the_man_page(checkouts):
    with zipfile.ZipFile(checkouts[0] / f"{NAME}-py3-none-any.whl") as wheel:
        names = wheel.namelist()
    shared = {n.partition(".data/data/share/")[2] for n in names if ".data/data/share/" in n}
    assert shared == {
        "bash-completion/completions/sidecar",
        "fish/vendor_completions.d/sidecar.fish",
        "man/man1/sidecar.1",
        "zsh/site-functions/_sidecar",
    }
    assert not any(name.startswith(("tests/", "scripts/", "docs/")) for name in names)


def test_the_source_archive_has_what_is_needed_to_test_it(checkouts):
    with tarfile.open(checkouts[0] / f"{NAME}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"Makefile", "pyproject.toml", "tests/support.py", "docs/README.md"} <= names


def test_the_chart_is_an_archive_of_what_is_in_the_repository(checkouts):
    (path,) = (checkouts[0] / "charts").iterdir()
    assert path.name == f"inference-health-sidecar-{sidecar.__version__}.tgz"
    with tarfile.open(fileobj=gzip.open(path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    folder = ROOT / "deploy" / "helm" / "inference-health-sidecar"
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert names == files - {".helmignore"} or names == files


def test_the_notes_of_a_release_are_its_section_in_the_changelog():
    text = "# Changelog\n\n## 2.0.0\n\n- two\n\n## 1.0.0 - 2026-01-01\n\n### Added\n\n- one\n"
    assert notes("1.0.0", text) == "### Added\n\n- one\n"
    assert notes("2.0.0", text) == "- two\n"
    for version in ("3.0.0", "1.0"):
        with pytest.raises(LookupError, match=f"'## {version}'"):
            notes(version, text)
    assert notes(sidecar.__version__, (ROOT / "CHANGELOG.md").read_text())


def test_each_step_of_the_workflows_that_does_work_is_a_target_that_is_run_here():
    used = set()
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            for step in job["steps"]:
                for line in re.findall(
                    r"\bmake ((?:--silent )?[a-z][a-z -]*)", step.get("run", "")
                ):
                    used |= {word for word in line.split() if not word.startswith("-")}
    defined = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"test", "dist", "sbom", "chart", "mixin", "notes", "image"} <= used
    assert used <= defined


def test_every_action_is_pinned_by_its_hash_with_its_version():
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        uses = re.findall(r"uses: (.*)", path.read_text())
        assert uses
        for action in uses:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)
