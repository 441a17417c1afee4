"""The message classes of protos/open_inference.proto; `make protos` writes the two files beside.

open_inference.binpb  the compiled descriptors, loaded here
messages.pyi          the types that a checker and an editor see
"""

from sidecar.oip.pool import load

DESCRIPTOR, _classes = load("open_inference")
globals().update(_classes)
