"""Renders the mixin into a folder: rules.json, alerts.json and the dashboards.

python -m scripts.mixin FOLDER
"""

import json
import sys
from pathlib import Path
from typing import Any

import _gojsonnet

MIXIN = Path(__file__).parents[1] / "deploy" / "prometheus" / "mixin" / "mixin.libsonnet"
PARTS = {
    "rules": "prometheusRules",
    "alerts": "prometheusAlerts",
    "dashboards": "grafanaDashboards",
}


def rendered(config: str = "{}") -> dict[str, Any]:
    """The parts of the mixin, with a `_config` in Jsonnet."""
    parts = ", ".join(f"{name}: m.{field}" for name, field in PARTS.items())
    text = f"local m = (import 'mixin.libsonnet') + {{ _config+:: {config} }}; {{ {parts} }}"
    made: dict[str, Any] = json.loads(
        _gojsonnet.evaluate_snippet(str(MIXIN.with_name("rendered.jsonnet")), text)
    )
    return made


def main(folder: Path) -> None:
    """Writes the files."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = rendered()
    files = {"rules.json": parts["rules"], "alerts.json": parts["alerts"], **parts["dashboards"]}
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
