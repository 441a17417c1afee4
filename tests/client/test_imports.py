"""The client is light: importing it does not import what only the daemon needs."""

import subprocess
import sys

HEAVY = ("numpy", "aiohttp", "pydantic", "prometheus_client", "yaml")


def test_importing_the_client_imports_nothing_of_the_daemons():
    code = f"import sys, sidecar.client; print([m for m in {HEAVY} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
