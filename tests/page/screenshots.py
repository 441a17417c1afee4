"""Takes the pictures of the demo's page that stand in the README.

python -m tests.page.screenshots
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, expect, sync_playwright

from tests.page.browsers import launch, watched
from tests.support import require_program, running_sidecar

DOCS = Path(__file__).parents[2] / "docs"
WIDTH, HEIGHT = 1000, 940
LIMIT = 150_000  # bytes each


def take(browser: Browser, port: int) -> None:
    """One picture of the same moment in each scheme: a model is ready whose canary fails."""
    with watched(browser, port, viewport={"width": WIDTH, "height": HEIGHT}) as seen:
        page = seen.page
        reasons = page.locator("#reasons")
        for check in ("model:slow-to-load", "model:flaky", "canary:dead-worker"):
            expect(reasons).to_contain_text(check, timeout=60_000)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            path = DOCS / f"page-{scheme}.png"
            page.screenshot(path=path)
            assert path.stat().st_size < LIMIT


def main() -> None:
    """Runs a demo and takes the pictures."""
    DOCS.mkdir(exist_ok=True)
    program = require_program("chromium")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "sidecar.log")
        flags = ("--period-seconds=1", "--recovery-period-seconds=1")
        with (
            running_sidecar(log, *flags, command="demo") as sidecar,
            sync_playwright() as playwright,
            launch(playwright, program) as browser,
        ):
            take(browser, sidecar.port)
    sys.stdout.write(f"{', '.join(sorted(path.name for path in DOCS.glob('page-*.png')))}\n")


if __name__ == "__main__":
    main()
