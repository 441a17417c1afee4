"""A real browser, and a demo to look at."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.page.browsers import launch
from tests.support import Sidecar, require_program, running_sidecar

# The page asks every two seconds, and less often on a slow machine.
expect.set_options(timeout=15_000)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = require_program("chromium")
    with sync_playwright() as playwright, launch(playwright, program) as browser:
        yield browser


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> Iterator[Sidecar]:
    log = tmp_path_factory.mktemp("demo") / "sidecar.log"
    with running_sidecar(log, "--period-seconds=1", command="demo") as sidecar:
        yield sidecar
