"""Where settings come from: flag, environment, file, default; and every error at once."""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource

from sidecar.settings.fields import Allowed
from sidecar.settings.knobs import PREFIX, Settings

CONFIG = PREFIX + "CONFIG"

# Kubernetes gives every pod variables such as SIDECAR_SERVICE_HOST and
# SIDECAR_PORT_9808_TCP when the namespace has a Service called `sidecar`.
_SERVICE_LINK = re.compile(r"SERVICE_(HOST|PORT.*)|PORT(_.*)?")


class BadSettings(Exception):
    """Everything that is wrong with the settings, one line each."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


def config_path(given: str | None) -> Path | None:
    """The settings file: the one that the command line gave, else the environment's, if any."""
    path = given or os.environ.get(CONFIG)
    return Path(path) if path else None


def load(flags: Mapping[str, str], config: str | None = None) -> Settings:
    """The settings that are in force, or BadSettings.

    `flags` are the settings that the command line gave, by name; `config` is
    the settings file it gave, if any.
    """
    lines: list[str] = []
    path = config_path(config)
    try:
        file = _read(path) if path else {}
    except ValueError as error:
        lines.append(f"config: given {str(path)!r}: {error}; allowed: the path of a YAML file")
        file = {}

    environment = EnvSettingsSource(Settings)()
    try:
        settings = Settings(**{**file, **environment, **flags})
    except ValidationError as errors:
        lines += _explain(errors, _Given(flags, file, path))
    if lines:
        raise BadSettings(lines)
    return settings


def unknown_variables(environ: Iterable[str]) -> list[str]:
    """The variables that look like settings and are none: most likely misspelt."""
    return sorted(
        name
        for name in environ
        if name.startswith(PREFIX)
        and name != CONFIG
        and name.removeprefix(PREFIX).lower() not in Settings.model_fields
        and not _SERVICE_LINK.fullmatch(name.removeprefix(PREFIX))
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" in line {mark.line + 1}" if mark else ""
        raise ValueError(f"is not YAML: {error.problem}{where}") from None
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError):
        raise ValueError("is not YAML") from None  # the library lets some of these through
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ValueError("is not a mapping of settings to values")
    return content


@dataclass(frozen=True, slots=True)
class _Given:
    """What was given where, to be repeated in errors."""

    flags: Mapping[str, str]
    file: Mapping[str, Any]
    path: Path | None

    def of(self, name: str) -> str:
        """The value of a setting that is in force, and its source."""
        variable = PREFIX + name.upper()
        environ = {key.upper(): value for key, value in os.environ.items()}
        if name in self.flags:
            value, source = self.flags[name], "--" + name.replace("_", "-")
        elif environ.get(variable):
            value, source = environ[variable], variable
        elif name in self.file:
            value, source = self.file[name], str(self.path)
        else:
            return f"default {Settings.model_fields[name].default!r}"
        return f"given {_allowed(name).show(value)} by {source}"


def _explain(errors: ValidationError, given: _Given) -> list[str]:
    """One line a bad setting: its name, what was given and where, why not, and what is allowed."""
    reasons: dict[str, list[str]] = {}
    for error in errors.errors():
        name, *inner = (str(part) for part in error["loc"])
        cause = error.get("ctx", {}).get("error")
        reason = str(cause) if cause else error["msg"][:1].lower() + error["msg"][1:]
        # What should have been the value of a header may stand in its name's place.
        where = f"{'.'.join(inner)}: " if inner and name != "headers" else ""
        reasons.setdefault(name, []).append(where + reason)
    return [
        f"{name}: {given.of(name)}: {', '.join(why)}; allowed: {_allowed(name).text}"
        if name in Settings.model_fields
        else f"{name}: there is no such setting{_suggestion(name)}"
        for name, why in reasons.items()
    ]


def _allowed(name: str) -> Allowed:
    """The words of a setting; of an optional one they stand inside its union."""
    field = Settings.model_fields[name]
    members = [getattr(member, "__metadata__", ()) for member in get_args(field.annotation)]
    return next(m for m in chain(field.metadata, *members) if isinstance(m, Allowed))


def _suggestion(name: str) -> str:
    close = difflib.get_close_matches(name.replace("-", "_"), Settings.model_fields, n=1)
    return f"; did you mean {close[0]}?" if close else ""
