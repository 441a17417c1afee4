"""The Open Inference Protocol's messages, in a descriptor pool of their own.

A private pool lets this package live in one process with kserve, tritonclient
or mlserver, each of which claims the same names in the default pool, and it
needs no generated code that would have to match the installed protobuf.
"""

from sidecar.oip.messages import DESCRIPTOR

SERVICE = DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
