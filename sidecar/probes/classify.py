"""Maps a gRPC status and its text to a reason; the only module that knows the texts.

The text shows its source. A text of gRPC's own transport means that no server
answered; a text of a known proxy means that the server behind it did not. Any
other text comes from the server, and a server that answers is not dead.
The texts were seen on KServe 0.21.0, MLServer 1.7.1, Triton 2.51.0, Envoy
1.40.0, nginx 1.22 and grpcio 1.62.3 to 1.85.3.
"""

import re

import grpc

from sidecar.core.checks import CANARY, MODEL, SERVER_LIVE, Check
from sidecar.core.reasons import Reason

Code = grpc.StatusCode

# The beginnings of texts of gRPC's transport. For a name with several addresses, the first one
# names only the last address.
TRANSPORT = re.compile(
    r"failed to connect to all|connections to all|Stream removed|Socket closed|recvmsg|sendmsg"
    r"|Connection (reset|refused|closed)|Broken pipe|GOAWAY|Endpoint (read|clos)|Transport closed"
    r"|keepalive|ping timeout|Too many pings|errors resolving|DNS resolution|empty address list"
    r"|FD shutdown|Channel shutdown|No route to host"
    r"|Network is unreachable",
    re.IGNORECASE,
)

CONNECT_FAILED = "failed to connect to all"

# The reason for a text of the transport. The first row whose words are in the text applies.
TRANSPORT_TABLE = (
    (
        r"CERTIFICATE_VERIFY_FAILED|Hostname Verification Check failed|WRONG_VERSION_NUMBER",
        Reason.TLS,
    ),
    (
        r"is not in peer certificate|SSL_ERROR|Ssl handshake|Tls handshake|security handshaker",
        Reason.TLS,
    ),
    # The peer speaks another protocol; the last one over TLS.
    (r"Failed parsing HTTP/2|http1\.x server|missing selected ALPN", Reason.UNIMPLEMENTED),
    # The peer rejected the call or the rate of calls.
    (r"RST_STREAM with error code 7\b", Reason.REJECTED),
    (r"(RST_STREAM with|GOAWAY received; E)rror code:? 11\b", Reason.BUSY),
    # The peer accepts connections and sends nothing, as a frozen server does, or the network
    # drops everything: gRPC reports a failure to connect, but it is a timeout.
    (r"timed out|FD Shutdown", Reason.TIMEOUT),
    (r"", Reason.UNREACHABLE),
)

# The reason for UNAVAILABLE with a text of the server or a proxy; as above.
SPOKEN_TABLE = (
    # Triton, if a protocol is restricted to callers with a certain header.
    (r"protocol is restricted", Reason.DENIED),
    # Triton; and any server based on gRPC's libraries that stops without a grace period.
    (r"Server exiting|^Cancelling all calls", Reason.SHUTTING_DOWN),
    (r"Server not ready", Reason.NOT_READY),
    # TorchServe, if the model raises an exception.
    (r"^Prediction failed", Reason.ERROR),
    # Triton with a full queue, and Envoy's limits.
    (r"Exceeds maximum queue size|Request timeout expired", Reason.BUSY),
    (
        r"^upstream connect error .*reset reason: overflow|^envoy overloaded|^local_rate_limited",
        Reason.BUSY,
    ),
    # Envoy, if the server does not answer or is gone.
    (
        r"^upstream request timeout|^upstream connect error .*reset reason: connection timeout",
        Reason.TIMEOUT,
    ),
    # Envoy, if the server answers.
    (r"^upstream connect error .*TLS.?error", Reason.TLS),
    (r"^upstream connect error .*reset reason: protocol error", Reason.UNIMPLEMENTED),
    (r"^upstream connect error .*reset reason: remote (refused stream )?reset", Reason.REJECTED),
    (r"^upstream connect error|^no healthy upstream", Reason.UNREACHABLE),
    (r"", Reason.REJECTED),
)

# RESOURCE_EXHAUSTED for another cause than load: limits of the local library, and TorchServe's
# text for a worker that died.
NOT_BUSY = ("larger than max", "metadata size exceeds", "Worker died")

CODES = {
    Code.DEADLINE_EXCEEDED: Reason.TIMEOUT,
    Code.UNIMPLEMENTED: Reason.UNIMPLEMENTED,
    Code.UNAUTHENTICATED: Reason.DENIED,
    Code.PERMISSION_DENIED: Reason.DENIED,
    Code.CANCELLED: Reason.REJECTED,
    Code.ABORTED: Reason.REJECTED,
    Code.FAILED_PRECONDITION: Reason.REJECTED,
    Code.OUT_OF_RANGE: Reason.REJECTED,
}


# A call without arguments cannot cause these, but the server did answer.
LIVE_REFUSES = (Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.ALREADY_EXISTS)

# The peer answers with plain HTTP: a proxy, or a server without gRPC.
HTTP_STATUS = re.compile(r"Received http2 header with status: ([0-9]{3})")
SERVER_ERRORS = 500


def classify(check: Check, code: grpc.StatusCode, text: str) -> Reason:
    """Return the reason for a status other than OK, by its code and text."""
    if (own := _by_check(check, code, text)) is not None:
        return own
    if found := HTTP_STATUS.match(text):
        return _by_http_status(int(found[1]))
    if code is Code.RESOURCE_EXHAUSTED:
        return Reason.ERROR if any(part in text for part in NOT_BUSY) else Reason.BUSY
    if code is not Code.UNAVAILABLE:
        return CODES.get(code, Reason.ERROR)
    table = TRANSPORT_TABLE if TRANSPORT.match(text) else SPOKEN_TABLE
    return next(answer for pattern, answer in table if re.search(pattern, text))


def _by_check(check: Check, code: grpc.StatusCode, text: str) -> Reason | None:
    """Return the reason for a status that has a special meaning for this check, if any."""
    if check.kind in (MODEL, CANARY) and _is_model_not_found(code, text):
        return Reason.MODEL_NOT_FOUND
    if check.kind == CANARY and code is Code.INVALID_ARGUMENT:
        return Reason.INVALID_REQUEST
    if check == SERVER_LIVE and code in LIVE_REFUSES:
        return Reason.REJECTED
    return None


def _by_http_status(status: int) -> Reason:
    """Return the reason for a reply without gRPC, by its HTTP status.

    nginx answers 503 both for a server that is gone and for too many requests.
    """
    known = {
        401: Reason.DENIED,
        403: Reason.DENIED,
        407: Reason.DENIED,
        408: Reason.TIMEOUT,
        429: Reason.BUSY,
        502: Reason.UNREACHABLE,
        503: Reason.UNREACHABLE,
        504: Reason.TIMEOUT,
    }
    if status in known:
        return known[status]
    return Reason.UNIMPLEMENTED if status < SERVER_ERRORS else Reason.ERROR


def _is_model_not_found(code: grpc.StatusCode, text: str) -> bool:
    """Whether this is MLServer's answer, which is UNKNOWN with the name of an exception."""
    return code is Code.NOT_FOUND or (code is Code.UNKNOWN and "ModelNotFound" in text)
