"""Real servers that answer only those who show what they were told to ask for."""

import pytest

from tests.interop.torchserve import TorchServe
from tests.interop.tritons import PyTriton, Triton
from tests.interop.watching import failures, statuses, wait_for_readyz, watching

# The first run installs the servers.
pytestmark = pytest.mark.timeout(900)

A = "fp32"


@pytest.mark.parametrize("kind", [Triton, PyTriton, TorchServe])
def test_who_refuses_lives_and_gets_no_traffic(kind, tmp_path):
    server = kind(tmp_path)
    server.restrict()
    try:
        server.start(loaded=[A])
        with watching(server, tmp_path / "without", f"--models={A}") as without:
            wait_for_readyz(without, "denied", "denied", **{A: "denied"})
            assert statuses(without) == (200, 503, 503)
            assert without.metric(failures("ServerLive", "denied")) >= 1
        flag, secret = server.permission()
        with watching(server, tmp_path / "with", f"--models={A}", flag) as allowed:
            allowed.wait_for("/readyz", 200)
            assert statuses(allowed) == (200, 200, 200)
            assert secret not in allowed.log
    finally:
        server.kill()
