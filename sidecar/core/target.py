"""The server: its address, its names, and the credentials that it needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

# TorchServe's service name; all other servers use the protocol's.
TORCHSERVE_SERVICE = "org.pytorch.serve.grpc.openinference.GRPCInferenceService"


class Server(NamedTuple):
    """The kind and version of an inference server.

    name:     kserve, mlserver, triton, pytriton, torchserve, openvino, or unknown.
    version:  as reported by the server, at most 32 characters; empty if it reports none.
    """

    name: str = "unknown"
    version: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """The parameters of a connection to the server.

    url:              in the client's format.
    service:          full name of the gRPC service.
    tls:              require TLS, whatever the scheme of the URL.
    server_name:      the name expected in the server's certificate; None for the URL's host.
    authority:        sent with every call; None for the server name or the URL's host.
    root_certificates, private_key, certificate_chain:
                      PEM; None for gRPC's default roots, or for no client certificate.
    headers:          sent with every call.
    timeout:          seconds for one attempt to connect.
    recovery_period:  maximum seconds between two attempts.
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
        """Whether both are the same server; certificates, tokens and durations may differ."""
        # The server name is sent as the authority if none is configured.
        mine = self.url, self.service, self.authority or self.server_name
        return mine == (other.url, other.service, other.authority or other.server_name)
