"""A page in the browser, watched: what it asks for and what it complains of; and axe-core."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Playwright

from tests.support import missing

# Without the latter ones it looks for its maker's hosts, which nobody here asked for.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def launch(playwright: Playwright, program: str) -> Iterator[Browser]:
    """A headless browser until the end of the block."""
    browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
    try:
        yield browser
    finally:
        browser.close()


@dataclass
class Watched:
    """A page, what it has asked for so far and what it has complained of."""

    page: Page
    origin: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@contextmanager
def watched(
    browser: Browser, port: int, *, complaints: tuple[str, ...] = (), **context: Any
) -> Iterator[Watched]:
    """The status page of a sidecar. In the end it has asked for nothing but itself and /status.

    It may complain with the given beginnings only.
    """
    origin = f"http://127.0.0.1:{port}"
    with browser.new_context(**context) as made:
        page = made.new_page()
        page.set_default_timeout(10_000)
        seen = Watched(page, origin)
        page.on("request", lambda request: seen.requests.append(request.url))
        page.on("console", lambda message: seen.complaints.append(message.text))
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        page.goto(f"{origin}/")
        yield seen
    # The icon is drawn by the page, as a data: address.
    asked = [url for url in seen.requests if not url.startswith("data:")]
    assert {f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" for url in asked} == {origin}
    assert {urlsplit(url).path for url in asked} <= {"/", "/status"}
    assert [text for text in seen.complaints if not text.startswith(complaints or ("\0",))] == []


def accessibility(page: Page) -> list[str]:
    """What axe-core finds wrong with the page as it is now, in any of its rules."""
    page.evaluate(axe().read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['impact']}: {one['id']}: {node['html']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


def axe() -> Path:
    """The path of axe-core's script, which `make page` installs into the environment."""
    script = Path(sys.prefix, "node", "node_modules", "axe-core", "axe.min.js")
    if not script.exists():
        missing("axe-core, which `make page` installs")
    return script
