"""`sidecar config`: prints the settings in force, or their JSON Schema."""

import json

from sidecar.config import Settings


def print_settings(settings: Settings) -> int:
    """Prints the settings in force as YAML, secrets masked. Returns the exit code."""
    print(settings.as_yaml(), end="")
    return 0


def print_schema() -> int:
    """Prints the JSON Schema of a settings file. Returns the exit code."""
    print(json.dumps(Settings.model_json_schema(), indent=2))
    return 0
