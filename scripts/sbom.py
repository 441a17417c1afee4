"""Writes the software bill of materials of the image, in CycloneDX: what its lock file installs.

python -m scripts.sbom FILE
"""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sidecar import __version__

ROOT = Path(__file__).parents[1]
NAME = "inference-health-sidecar"


def bill() -> dict[str, Any]:
    """The document; its time is SOURCE_DATE_EPOCH where that is set."""
    made: dict[str, Any] = json.loads(
        subprocess.run(
            [
                sys.executable, "-m", "cyclonedx_py", "requirements", "requirements.lock",
                "--pyproject", "pyproject.toml", "--mc-type", "application",
                "--spec-version", "1.6", "--output-reproducible",
            ],
            cwd=ROOT, check=True, capture_output=True, text=True,
        ).stdout
    )  # fmt: skip
    made["metadata"]["component"]["version"] = __version__
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        made["metadata"]["timestamp"] = datetime.fromtimestamp(int(epoch), UTC).isoformat()
    return made


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(bill(), indent=2) + "\n")
