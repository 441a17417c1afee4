"""The errors of settings, for the tests."""

from pathlib import Path

import pytest

from sidecar.config import BadSettings, load


def errors(flags: dict[str, str], config: str | None = None) -> list[str]:
    with pytest.raises(BadSettings) as caught:
        load(flags, config)
    return caught.value.lines


def in_file(folder: Path, text: str, **flags: str) -> list[str]:
    """The errors of a settings file, without the file's own name."""
    path = folder / "s.yaml"
    path.write_text(text)
    return [
        line.replace(f" {path}, ", " ").replace(str(path), "FILE")
        for line in errors(flags, str(path))
    ]
