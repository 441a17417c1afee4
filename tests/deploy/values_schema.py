"""The chart's values.schema.json: the settings in it are those of `Settings`, written by this.

`python -m tests.deploy.values_schema` writes them anew.
"""

import json
from pathlib import Path
from typing import Any

from sidecar.config import Settings

FILE = (
    Path(__file__).parents[2]
    / "deploy"
    / "helm"
    / "inference-health-sidecar"
    / "values.schema.json"
)

LEFT_OUT = {"title", "default", "format"}


def settings_schema() -> Any:
    """The schema of a settings file, without what a validator does not need."""
    schema = _bare(Settings.model_json_schema())
    # Any free port would do for the sidecar, and for no probe.
    schema["properties"]["http_port"]["minimum"] = 1
    return schema


def _bare(node: Any) -> Any:
    if isinstance(node, list):
        return [_bare(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: (
            {name: _bare(schema) for name, schema in value.items()}
            if key == "properties"
            else _bare(value)
        )
        for key, value in node.items()
        if key not in LEFT_OUT
    }


if __name__ == "__main__":
    whole = json.loads(FILE.read_text())
    whole["properties"]["config"] = settings_schema()
    FILE.write_text(json.dumps(whole, indent=2) + "\n")
