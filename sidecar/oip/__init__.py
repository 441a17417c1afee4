"""The messages of the Open Inference Protocol, and of grpc.health.v1, in pools of their own.

A private pool lets this package live in one process with kserve, tritonclient
or mlserver, each of which claims the same names in the default pool, and it
needs no generated code that would have to match the installed protobuf.
"""

from sidecar.oip.messages import DESCRIPTOR

SERVICE = DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
