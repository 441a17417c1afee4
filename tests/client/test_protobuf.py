"""Building and reading messages: errors name the field and the value."""

import pytest

from sidecar.client import InvalidInput, protobuf
from sidecar.client.errors import Unreadable
from sidecar.oip import messages
from tests.support import untyped


def test_what_is_no_text_is_refused_by_its_field():
    with pytest.raises(InvalidInput, match="version 5 is not a str"):
        protobuf.build(messages.ModelReadyRequest, name="m", version=untyped(5))
    with pytest.raises(InvalidInput, match=r"name .* is not a str that can be written as UTF-8"):
        protobuf.build(messages.ModelReadyRequest, name="\ud800")


def test_another_message_is_refused():
    with pytest.raises(InvalidInput, match="given ModelReadyRequest; allowed: ModelInferRequest"):
        protobuf.own(messages.ModelInferRequest, messages.ModelReadyRequest())


def test_bytes_that_are_no_message_are_unreadable():
    with pytest.raises(Unreadable, match="not a ModelInferRequest: "):
        protobuf.parse(messages.ModelInferRequest, b"\xff")
