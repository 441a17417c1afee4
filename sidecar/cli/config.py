"""`sidecar config`: prints the effective settings, or their JSON Schema."""

import json
import sys
from collections.abc import Mapping

from sidecar.cli import terminal
from sidecar.config import Settings


def print_settings(settings: Settings, sources: Mapping[str, str]) -> int:
    """Print the effective settings as YAML, secrets masked. Return the exit code.

    sources:  the source of each given setting; it follows settings that differ from their
              default as a comment.
    """
    lines = []
    for line in settings.as_yaml().splitlines():
        name = line.partition(":")[0]
        given = name in sources and getattr(settings, name) != Settings.model_fields[name].default
        lines.append(f"{line} # {sources[name]}\n" if given else f"{line}\n")
    terminal.write(sys.stdout, "".join(lines))
    return 0


def print_schema() -> int:
    """Print the JSON Schema of a settings file. Return the exit code."""
    terminal.write(sys.stdout, json.dumps(Settings.model_json_schema(), indent=2) + "\n")
    return 0
