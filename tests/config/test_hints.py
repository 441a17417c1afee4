"""What is suggested for each inference server."""

import pytest

from sidecar.config import Settings
from sidecar.config.hints import hints, service_hint
from sidecar.core.target import TORCHSERVE_SERVICE, Server


@pytest.mark.parametrize(
    ("name", "settings", "has_canaries", "part"),
    [
        ("triton", {}, False, "list the models"),
        ("pytriton", {}, False, "list the models"),
        ("triton", {"models": "a"}, False, ""),
        ("triton", {"discover": True}, False, ""),
        ("kserve", {"models": "a"}, False, "if predict is synchronous"),
        ("kserve", {"timeout_seconds": 16, "period_seconds": 17}, False, ""),
        ("mlserver", {}, True, "set progress_metrics_url"),
        ("mlserver", {}, False, ""),
        ("mlserver", {"progress_metrics_url": "http://localhost:8082/metrics"}, True, ""),
        ("torchserve", {}, True, ""),
        ("unknown", {}, True, ""),
    ],
)
def test_what_fits_a_server_and_differs_is_suggested(name, settings, has_canaries, part):
    found = list(hints(Settings(**settings), Server(name, "1"), has_canaries=has_canaries))
    assert [part in hint for hint in found] == ([True] if part else [])


def test_a_service_that_is_not_there_may_be_torchserves():
    assert f"set grpc_service to {TORCHSERVE_SERVICE}" in service_hint(Settings())
    assert "only TorchServe has it" in service_hint(Settings(grpc_service=TORCHSERVE_SERVICE))
