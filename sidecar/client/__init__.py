"""The client as a library: nothing of the sidecar is known here.

client.py    the calls
channel.py   from a URL and options to a gRPC channel
metadata.py  the headers of a call, checked before anything is sent
errors.py    what a caller may have to catch, besides grpc.RpcError
"""

from sidecar.client.client import USE_CLIENT_DEFAULT, InferenceGRPCClient
from sidecar.client.errors import InvalidInput

__all__ = ["USE_CLIENT_DEFAULT", "InferenceGRPCClient", "InvalidInput"]
