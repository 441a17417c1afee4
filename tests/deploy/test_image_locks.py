"""The image's lock files hold what pyproject.toml asks for, and nothing without a hash."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

PIN = re.compile(r"([\w.-]+)==(\S+) ; (.+) \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}( \\)?")
COMMENT = re.compile(r" *#.*")


def locked(file: str) -> dict[str, tuple[str, Marker]]:
    """Version and marker of each pin; fails at a line that is no pin, hash or comment."""
    pins: dict[str, tuple[str, Marker]] = {}
    hashed = True
    for line in (ROOT / file).read_text().splitlines():
        if pin := PIN.fullmatch(line):
            assert hashed, f"before {line!r} is one without a hash"
            assert pin[1] not in pins
            pins[pin[1]] = (pin[2], Marker(pin[3]))
            hashed = False
        elif HASH.fullmatch(line):
            hashed = True
        else:
            assert COMMENT.fullmatch(line), line
            assert "://" not in line
    assert hashed
    return pins


EXTRAS = PROJECT["project"]["optional-dependencies"]
LOCKS: list[tuple[str, list[str]]] = [
    ("requirements.lock", [*PROJECT["project"]["dependencies"], *EXTRAS["doctor"]]),
    ("requirements-build.lock", PROJECT["build-system"]["requires"]),
]


@pytest.mark.parametrize(("file", "asked"), LOCKS, ids=[file for file, _ in LOCKS])
def test_whatever_is_asked_for_is_locked_within_its_bounds(file, asked):
    pins = locked(file)
    environments: list[dict[str, Any]] = [
        {"python_version": f"3.{minor}", "python_full_version": f"3.{minor}.0",
         "sys_platform": "linux", "platform_machine": machine}
        for minor in range(11, 15)
        for machine in ("x86_64", "aarch64")
    ]  # fmt: skip
    for requirement in map(Requirement, asked):
        version, marker = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version)
        assert [e for e in environments if not marker.evaluate(e)] == []


def test_what_only_an_extra_or_a_group_asks_for_is_not_in_the_image():
    pins = locked("requirements.lock")
    assert "pyyaml" in pins
    assert not {"numpy", "pytest", "hatchling", "uv"} & pins.keys()
