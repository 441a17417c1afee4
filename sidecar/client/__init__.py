"""The client library; it does not import any other part of the sidecar but the messages.

client.py       InferenceGRPCClient: every call
health.py       HealthClient: the health calls alone; InferenceGRPCClient extends it
connection.py   one channel, and calls on serialized messages
report.py       the log line of a call, and hints in error texts
channel.py      the gRPC channel for a URL and options
timeout.py      the timeout of a call
metadata.py     the headers of a call, validated before anything is sent
description.py  the metadata of servers and models
inference/      requests, responses and tensors
protobuf.py     messages: build, parse, serialize
wire.py         raw tensor bytes in serialized messages, with as few copies as possible
errors.py       the client's own exceptions

The names below are imported when they are first used, so that a program that
imports one module, such as `sidecar.client.health`, does not load the others.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.client.client import InferenceGRPCClient
    from sidecar.client.description import (
        ModelIndex,
        ModelMetadata,
        ModelStatistics,
        ServerMetadata,
        TensorMetadata,
    )
    from sidecar.client.errors import InferenceError, InvalidInput
    from sidecar.client.health import HealthClient
    from sidecar.client.inference.request import InferRequest, RequestedOutput
    from sidecar.client.inference.response import InferResponse
    from sidecar.client.inference.tensors import InferInput, InferOutput
    from sidecar.client.timeout import USE_CLIENT_DEFAULT
else:
    # Hidden from type checkers, which would otherwise accept any name.
    _MODULES = {
        "USE_CLIENT_DEFAULT": "timeout",
        "HealthClient": "health",
        "InferInput": "inference.tensors",
        "InferOutput": "inference.tensors",
        "InferRequest": "inference.request",
        "InferResponse": "inference.response",
        "InferenceError": "errors",
        "InferenceGRPCClient": "client",
        "InvalidInput": "errors",
        "ModelIndex": "description",
        "ModelMetadata": "description",
        "ModelStatistics": "description",
        "RequestedOutput": "inference.request",
        "ServerMetadata": "description",
        "TensorMetadata": "description",
    }

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used (PEP 562)."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """List the public names, imported or not, beside what the module has."""
        return sorted({*globals(), *__all__})


__all__ = [
    "USE_CLIENT_DEFAULT",
    "HealthClient",
    "InferInput",
    "InferOutput",
    "InferRequest",
    "InferResponse",
    "InferenceError",
    "InferenceGRPCClient",
    "InvalidInput",
    "ModelIndex",
    "ModelMetadata",
    "ModelStatistics",
    "RequestedOutput",
    "ServerMetadata",
    "TensorMetadata",
]
