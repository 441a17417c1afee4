"""The server that is asked: its address, the names it goes by, and what it wants to see."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

# TorchServe's, which no other server has.
TORCHSERVE_SERVICE = "org.pytorch.serve.grpc.openinference.GRPCInferenceService"


class Server(NamedTuple):
    """Which inference server it is.

    name:     kserve, mlserver, triton, pytriton, torchserve, openvino, or unknown.
    version:  as the server says it, at most 32 characters; empty where it says none.
    """

    name: str = "unknown"
    version: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """Everything that a connection to the server is made from.

    url:              as the client takes it.
    service:          full name of the gRPC service.
    tls:              speak TLS whatever the URL's scheme says.
    server_name:      to expect in the server's certificate; None for the URL's.
    authority:        of every call; None for the server name, or else the URL's.
    root_certificates, private_key, certificate_chain:
                      PEM; None for gRPC's own roots, and for no client certificate.
    headers:          sent with every call.
    timeout:          seconds that an attempt to connect may take.
    recovery_period:  seconds between two attempts, at most.
    """

    url: str
    service: str
    timeout: float
    recovery_period: float
    tls: bool = False
    server_name: str | None = None
    authority: str | None = None
    root_certificates: bytes | None = None
    private_key: bytes | None = field(default=None, repr=False)
    certificate_chain: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def is_same_server(self, other: "Target") -> bool:
        """Whether both lead to one server; certificates, tokens and durations may differ."""
        # A server name is sent as the authority where there is none.
        mine = self.url, self.service, self.authority or self.server_name
        return mine == (other.url, other.service, other.authority or other.server_name)
