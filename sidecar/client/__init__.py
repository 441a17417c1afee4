"""The client as a library: nothing of the sidecar is known here.

client.py       the calls
connection.py   one channel, and a call on bytes over it
channel.py      from a URL and options to a gRPC channel
timeout.py      how long a call may take
metadata.py     the headers of a call, checked before anything is sent
description.py  what a server tells of itself and of its models
inference/      what is asked of a model and what it answers
wire.py         messages as bytes, without copying raw tensors more than needed
errors.py       what a caller may have to catch, besides grpc.RpcError
"""

from sidecar.client.client import InferenceGRPCClient
from sidecar.client.description import ModelIndex, ModelMetadata, ServerMetadata, TensorMetadata
from sidecar.client.errors import InferenceError, InvalidInput
from sidecar.client.inference.request import InferRequest, RequestedOutput
from sidecar.client.inference.response import InferResponse
from sidecar.client.inference.tensors import InferInput, InferOutput
from sidecar.client.timeout import USE_CLIENT_DEFAULT

__all__ = [
    "USE_CLIENT_DEFAULT",
    "InferInput",
    "InferOutput",
    "InferRequest",
    "InferResponse",
    "InferenceError",
    "InferenceGRPCClient",
    "InvalidInput",
    "ModelIndex",
    "ModelMetadata",
    "RequestedOutput",
    "ServerMetadata",
    "TensorMetadata",
]
