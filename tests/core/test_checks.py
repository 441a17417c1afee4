"""What is asked and what came back have names that people meet elsewhere."""

import pytest

from sidecar.core.checks import SERVER_LIVE, SERVER_READY, model_ready
from sidecar.core.reasons import Reason


@pytest.mark.parametrize(
    ("check", "name"),
    [
        (SERVER_LIVE, "server-live"),
        (SERVER_READY, "server-ready"),
        (model_ready("resnet50"), "model:resnet50"),
        (model_ready("bert", "3"), "model:bert:3"),
    ],
)
def test_a_check_is_named_as_in_bodies_and_paths(check, name):
    assert check.name == name


def test_the_answers_are_those_of_the_contract():
    words = (
        "ok not_ready model_not_found unreachable shutting_down timeout busy rejected tls denied"
        " unimplemented error invalid_request wrong_output"
    )
    assert " ".join(Reason) == words


def test_the_calls_are_named_as_on_the_wire():
    rpcs = [check.rpc for check in (SERVER_LIVE, SERVER_READY, model_ready("a"))]
    assert rpcs == [
        "ServerLive",
        "ServerReady",
        "ModelReady",
    ]
