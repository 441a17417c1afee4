"""The message classes of protos/grpc_health.proto; `make protos` writes the two files beside.

grpc_health.binpb  the compiled descriptors, loaded here
health.pyi         the types that a checker and an editor see
"""

from sidecar.oip.pool import load

DESCRIPTOR, _classes = load("grpc_health")
globals().update(_classes)
