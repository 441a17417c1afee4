"""What of Triton's ServerReady a model that failed to load does to the others."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.tritons import Triton
from tests.interop.watching import line, statuses, wait_for_readyz, watching

# The first run installs the server.
pytestmark = pytest.mark.timeout(900)

A, B = "fp32", "int64"


@pytest.fixture
def triton(tmp_path: Path) -> Iterator[Triton]:
    """A Triton with two models, of which only the first is loaded."""
    server = Triton(tmp_path)
    try:
        server.add(B)
        server.start(loaded=[A])
        yield server
    finally:
        server.kill()


def test_a_load_that_failed_fails_server_ready_for_good_unless_that_is_not_required(
    triton, tmp_path
):
    with (
        watching(
            triton, tmp_path / "strict", f"--models={A}", "--require-server-ready=true"
        ) as strict,
        watching(triton, tmp_path / "lenient", f"--models={A}") as lenient,
        watching(triton, tmp_path / "other", f"--models={B}") as other,
    ):
        strict.wait_for("/readyz", 200)
        lenient.wait_for("/readyz", 200)
        # It has the model and has never loaded it.
        wait_for_readyz(other, "ok", "ok", **{B: "not_ready"})

        triton.begin_load(B)
        triton.fail(B)
        wait_for_readyz(strict, "ok", "not_ready", **{A: "ok"})
        lenient.wait_for_line(line("server-ready", "not_ready"))
        assert statuses(strict) == (200, 503, 200)
        assert statuses(lenient) == (200, 200, 200)
