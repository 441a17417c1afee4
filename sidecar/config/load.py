"""Loads the settings from flags, environment, file and defaults; reports all errors at once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sidecar.config import errors, yaml_file
from sidecar.config.environment import CONFIG, PREFIX, Variables, suggestion
from sidecar.config.models import without_quotes
from sidecar.config.rules import Rules
from sidecar.config.schema import Settings
from sidecar.config.types import Allowed

NAMES = tuple(Settings.model_fields)


class BadSettings(Exception):
    """All errors of the settings, one per line."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def config_path(given: str | None) -> Path | None:
    """Return the settings file: that of the command line, else of the environment, if any."""
    path = given or os.environ.get(CONFIG)
    return Path(path) if path else None


def variable_warnings(environ: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable that looks like a setting and has no effect."""
    return Variables(environ, NAMES).warnings


def is_hidden(name: str | None) -> bool:
    """Whether the value of a setting may be a secret, so that errors must not show it."""
    return name is not None and _allowed(name).show is not repr


def load(
    flags: Mapping[str, str],
    config: str | None = None,
    own: Mapping[str, Any] | None = None,
) -> Settings:
    """Return the effective settings. Raises BadSettings.

    `flags` are the settings of the command line by name; `config` is its settings
    file, if any; `own` are settings that the command determines, so that they
    cannot be given.
    """
    lines: list[str] = []
    path = config_path(config)
    file = yaml_file.Document()
    try:
        if path:
            without_quotes(str(path))
            file = yaml_file.read(path, _may_be_shown)
    except ValueError as error:
        lines.append(f"config: given {str(path)!r}: {error}; allowed: the path of a YAML file")
    return _put_together(_Sources(flags, os.environ, file, path), own or {}, lines)


def sources(flags: Mapping[str, str], config: str | None = None) -> dict[str, str]:
    """Return the source of each setting that was given: a flag, a variable or the file."""
    path = config_path(config)
    file = yaml_file.read(path, _may_be_shown) if path else yaml_file.Document()
    given = _Given(flags, Variables(os.environ, NAMES).given, file, path)
    return {name: given.source(name) for name in NAMES if given.source(name)}


def load_text(flags: Mapping[str, str], environ: Mapping[str, str], text: str = "") -> Settings:
    """Return the settings that another process has, by its flags, environment and file."""
    try:
        file = yaml_file.parse(text, _may_be_shown)
    except ValueError as error:
        raise BadSettings([f"config: the settings file {error}"]) from None
    return _put_together(_Sources(flags, environ, file, Path("the settings file")), {}, [])


class _Sources(NamedTuple):
    flags: Mapping[str, str]
    environ: Mapping[str, str]
    file: yaml_file.Document
    path: Path | None


def _put_together(sources: _Sources, own: Mapping[str, Any], lines: list[str]) -> Settings:
    """Return the settings. Raises BadSettings with these lines and all errors."""
    flags, environ, file, path = sources
    variables = Variables(environ, NAMES)
    given = _Given(flags, variables.given, file, path)

    wrong = [(name, f"{name}: {reason}") for name, reason in variables.wrong]
    wrong += [(name, f"{name}: {path}, {why}") for name, why in file.wrong if name in NAMES]
    wrong += [
        (name, f"{name}: {given.of(name)}the demo has its own, which cannot be changed")
        for name in own
        if name in given.values
    ]
    # If a whole value was read as another type, its other errors are meaningless.
    reported = {n for n, _ in file.wrong if (n,) in file.read_as and given.by_file(n)} | {*own}
    settings, reasons = _validate({**given.values, **own}, given)
    wrong += [
        (name, f"{name}: {given.of(name)}{', '.join(why)}; allowed: {_allowed(name).text}")
        if name in NAMES
        else (name, f"{name}: there is no such setting{suggestion(_plain(name), NAMES)}")
        for name, why in reasons.items()
        if name not in reported or name not in NAMES
    ]
    order = {name: position for position, name in enumerate(NAMES)}
    lines += [line for _, line in sorted(wrong, key=lambda one: order.get(one[0], len(order)))]
    if lines:
        raise BadSettings(lines)
    return settings


def _validate(values: Mapping[str, Any], given: "_Given") -> tuple[Settings, dict[str, list[str]]]:
    """Return the settings, with the default for each bad value; and its error, by name."""
    reasons: dict[str, list[str]] = {}
    try:
        settings = Settings(**values)
    except ValidationError as invalid:
        for error in invalid.errors(include_url=False):
            found = reasons.setdefault(str(error["loc"][0]), [])
            if (reason := given.reason(error)) not in found:  # an alias has the value of its anchor
                found.append(reason)
        good = {name: value for name, value in values.items() if name not in reasons}
        settings = Settings(**good)
    for name, reason in Rules(settings, frozenset(reasons), values).broken():
        reasons.setdefault(name, []).append(reason)
    return settings, reasons


@dataclass(frozen=True, slots=True)
class _Given:
    """The given values and their sources, to be shown in errors."""

    flags: Mapping[str, str]
    environment: Mapping[str, str]
    file: yaml_file.Document
    path: Path | None

    @property
    def values(self) -> dict[str, Any]:
        """The given values, each from the first source that has it."""
        return {**self.file.values, **self.environment, **self.flags}

    def source(self, name: str) -> str:
        """The source of the value; empty for a default."""
        if name in self.flags:
            return "--" + name.replace("_", "-")
        if name in self.environment:
            return PREFIX + name.upper()
        return str(self.path) if self.by_file(name) else ""

    def by_file(self, name: str) -> bool:
        """Whether the value comes from the file."""
        return name in self.file.values and name not in {**self.flags, **self.environment}

    def of(self, name: str) -> str:
        """The value of a setting and its source; empty if there is no value."""
        if source := self.source(name):
            return f"given {_allowed(name).show(self.values[name])} by {source}: "
        default = Settings.model_fields[name].default
        return "" if default is None else f"default {default!r}: "

    def reason(self, error: ErrorDetails) -> str:
        """Why a value is bad; with the line if YAML reads it as something else than text."""
        place = tuple(map(str, error["loc"]))
        if self.by_file(place[0]):
            place = self.file.anchored_at(place)
        name, *inner = place
        why = errors.reason(error)
        if errors.wants_text(error):
            why = "not text, so it must be in quotes"
            if self.by_file(name) and (what := self.file.what_is_at(place)):
                why = f"{what}, and {errors.is_text(name, inner)}: quote it"
                del inner[1:]  # which the reason now names
        # The name may be a header's value, given in its place by mistake.
        return errors.of_model(inner, error, why) if inner and name == "models" else why


def _plain(name: str) -> str:
    return name.replace("-", "_").lower()


def _allowed(name: str) -> Allowed:
    """The allowed values of a setting; for an optional one they are inside its union."""
    annotation = Settings.model_fields[name]
    members = [getattr(member, "__metadata__", ()) for member in get_args(annotation.annotation)]
    return next(m for m in chain(annotation.metadata, *members) if isinstance(m, Allowed))


def _may_be_shown(name: str, text: str) -> str:
    """The given value of a setting, unless its errors must not show it."""
    shown = _allowed(name).show(text) if name in NAMES else text
    return text if shown == repr(text) else shown
