"""Where settings come from: flag, environment, file, default; and every error at once."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sidecar.settings import yaml_file
from sidecar.settings.environment import CONFIG, PREFIX, Variables, suggestion
from sidecar.settings.fields import Allowed
from sidecar.settings.knobs import Settings
from sidecar.settings.models import NOT_A_LIST, without_quotes
from sidecar.settings.rules import Rules

NAMES = tuple(Settings.model_fields)

# How pydantic and we call it when text was wanted.
WANTS_TEXT = ("string_type", "path_type", "dict_type", NOT_A_LIST)


class BadSettings(Exception):
    """Everything that is wrong with the settings, one line each."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def config_path(given: str | None) -> Path | None:
    """The settings file: the one that the command line gave, else the environment's, if any."""
    path = given or os.environ.get(CONFIG)
    return Path(path) if path else None


def variable_warnings(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each variable that looks like a setting and sets nothing."""
    return Variables(environ, NAMES).warnings


def load(
    flags: Mapping[str, str], config: str | None = None, own: Mapping[str, Any] | None = None
) -> Settings:
    """The settings that are in force, or BadSettings.

    `flags` are the settings that the command line gave, by name; `config` is
    the settings file it gave, if any; `own` are those that the command brings
    itself, so that nobody may give them.
    """
    own = own or {}
    lines: list[str] = []
    path = config_path(config)
    file = yaml_file.Document()
    try:
        if path:
            without_quotes(str(path))
            file = yaml_file.read(path, _may_be_shown)
    except ValueError as error:
        lines.append(f"config: given {str(path)!r}: {error}; allowed: the path of a YAML file")
    variables = Variables(os.environ, NAMES)
    given = _Given(flags, variables.given, file, path)

    wrong = [(name, f"{name}: {reason}") for name, reason in variables.wrong]
    wrong += [(name, f"{name}: {path}, {why}") for name, why in file.wrong if name in NAMES]
    wrong += [
        (name, f"{name}: {given.of(name)}: the demo has its own, which cannot be changed")
        for name in own
        if name in given.values
    ]
    # Where a whole value is read as something else, what else is wrong with it says nothing.
    told = {name for name, _ in file.wrong if (name,) in file.read_as} | {*own}
    settings, reasons = _validate({**given.values, **own}, given)
    wrong += [
        (name, f"{name}: {given.of(name)}: {', '.join(why)}; allowed: {_allowed(name).text}")
        if name in NAMES
        else (name, f"{name}: there is no such setting{suggestion(_plain(name), NAMES)}")
        for name, why in reasons.items()
        if name not in told or name not in NAMES
    ]
    order = {name: position for position, name in enumerate(NAMES)}
    lines += [line for _, line in sorted(wrong, key=lambda one: order.get(one[0], len(order)))]
    if lines:
        raise BadSettings(lines)
    return settings


def _validate(values: Mapping[str, Any], given: "_Given") -> tuple[Settings, dict[str, list[str]]]:
    """The settings, with the default for each bad value; and why it is bad, by name."""
    reasons: dict[str, list[str]] = {}
    try:
        settings = Settings(**values)
    except ValidationError as errors:
        for error in errors.errors(include_url=False):
            reasons.setdefault(str(error["loc"][0]), []).append(given.reason(error))
        good = {name: value for name, value in values.items() if name not in reasons}
        settings = Settings(**good)
    for name, reason in Rules(settings, frozenset(reasons), values).broken():
        reasons.setdefault(name, []).append(reason)
    return settings, reasons


@dataclass(frozen=True, slots=True)
class _Given:
    """What was given where, to be repeated in errors."""

    flags: Mapping[str, str]
    environment: Mapping[str, str]
    file: yaml_file.Document
    path: Path | None

    @property
    def values(self) -> dict[str, Any]:
        """The values that were given, each from the first source that has it."""
        return {**self.file.values, **self.environment, **self.flags}

    def source(self, name: str) -> str:
        """Where the value comes from; empty for a default."""
        if name in self.flags:
            return "--" + name.replace("_", "-")
        if name in self.environment:
            return PREFIX + name.upper()
        return str(self.path) if name in self.file.values else ""

    def of(self, name: str) -> str:
        """The value of a setting, and its source."""
        if not (source := self.source(name)):
            return f"default {Settings.model_fields[name].default!r}"
        return f"given {_allowed(name).show(self.values[name])} by {source}"

    def reason(self, error: ErrorDetails) -> str:
        """Why a value is bad; where YAML reads something else than text, the line as well."""
        name, *inner = (str(part) for part in error["loc"])
        cause = error.get("ctx", {}).get("error")
        reason = str(cause) if cause else error["msg"][:1].lower() + error["msg"][1:]
        value = error["input"]
        wants_text = error["type"] in WANTS_TEXT or reason in WANTS_TEXT
        if wants_text and isinstance(value, bool | int | float | None):
            reason = "not text, so it must be in quotes"
            if self.source(name) == str(self.path):
                reason = self._read_as(name, *inner) or reason
        # What should have been the value of a header may stand in its name's place.
        return f"{'.'.join(inner)}: {reason}" if inner and name != "headers" else reason

    def _read_as(self, *place: str) -> str | None:
        """What YAML reads at a place in the file; an entry in short is the whole of a model."""
        return self.file.read_as.get(place) or self.file.read_as.get(place[:-1])


def _plain(name: str) -> str:
    return name.replace("-", "_").lower()


def _allowed(name: str) -> Allowed:
    """The words of a setting; of an optional one they stand inside its union."""
    annotation = Settings.model_fields[name]
    members = [getattr(member, "__metadata__", ()) for member in get_args(annotation.annotation)]
    return next(m for m in chain(annotation.metadata, *members) if isinstance(m, Allowed))


def _may_be_shown(name: str, text: str) -> str:
    """What is written for a setting, unless its errors hide what was given."""
    shown = _allowed(name).show(text) if name in NAMES else text
    return text if shown == repr(text) else shown
