"""A status that is not OK has its reason, by its code and by who speaks in its text."""

import grpc
import pytest

from sidecar.core.checks import SERVER_LIVE, SERVER_READY, canary, model_ready
from sidecar.core.reasons import Reason
from sidecar.probes.classify import classify

Code = grpc.StatusCode
CHECKS = {check.rpc: check for check in (SERVER_LIVE, SERVER_READY, model_ready("a"), canary("a"))}
CONNECT = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:8001: "
TLS = CONNECT + "Tls handshake failed (TSI_PROTOCOL_FAILURE): SSL_ERROR_SSL: error:1000007d:"
SETTINGS = "Failed parsing HTTP/2 (Expected SETTINGS frame as the first frame, got frame type 80)"
ENVOY = "upstream connect error or disconnect/reset before headers. reset reason: "
STUB = "This protocol is restricted, expecting header 'triton-grpc-protocol-x'"
MLSERVER = "Unexpected <class 'mlserver.errors.ModelNotFound'>: Model nope"

# What was seen on real servers, proxies and in gRPC itself, as (rpc, code, text, reason).
SEEN = [
    ("ModelInfer", Code.INVALID_ARGUMENT, "unexpected shape for input 'x'", "invalid_request"),
    ("ModelInfer", Code.INTERNAL, "Stub process 'm_0_0' is not healthy.", "error"),
    ("ModelInfer", Code.INTERNAL, "Failed to process the request(s) for model", "error"),
    ("ModelInfer", Code.INTERNAL, "builtins.ValueError: boom", "error"),
    ("ModelInfer", Code.INTERNAL, 'Model "l" has no worker to serve inference request', "error"),
    ("ModelInfer", Code.UNAVAILABLE, "Prediction failed", "error"),
    ("ModelInfer", Code.UNAVAILABLE, "Exceeds maximum queue size", "busy"),
    ("ModelInfer", Code.UNAVAILABLE, "Request timeout expired", "busy"),
    ("ModelInfer", Code.UNAVAILABLE, STUB, "denied"),
    ("ModelInfer", Code.RESOURCE_EXHAUSTED, "Worker died.", "error"),
    ("ModelInfer", Code.RESOURCE_EXHAUSTED, "Received message larger than max (5 vs. 4)", "error"),
    ("ModelInfer", Code.UNIMPLEMENTED, "decoupled transaction policy", "unimplemented"),
    ("ModelInfer", Code.NOT_FOUND, "'m' has no available versions", "model_not_found"),
    ("ServerLive", Code.DEADLINE_EXCEEDED, "Deadline Exceeded", "timeout"),
    ("ServerLive", Code.UNAVAILABLE, CONNECT + "Connection refused", "unreachable"),
    ("ServerLive", Code.UNAVAILABLE, CONNECT + "recvmsg:Connection reset by peer", "unreachable"),
    ("ServerLive", Code.UNAVAILABLE, CONNECT + "Socket closed", "unreachable"),
    ("ServerLive", Code.UNAVAILABLE, CONNECT + "No such file or directory", "unreachable"),
    ("ServerLive", Code.UNAVAILABLE, "Stream removed (Socket closed)", "unreachable"),
    ("ServerLive", Code.UNAVAILABLE, "Socket closed", "unreachable"),
    ("ServerLive", Code.UNAVAILABLE, "recvmsg:Connection reset by peer", "unreachable"),
    ("ServerLive", Code.UNAVAILABLE, "GOAWAY received", "unreachable"),
    ("ServerLive", Code.UNAVAILABLE, "keepalive watchdog timeout", "unreachable"),
    ("ServerLive", Code.UNAVAILABLE, "DNS resolution failed for x", "unreachable"),
    ("ServerLive", Code.UNAVAILABLE, "errors resolving nowhere.invalid:80: []", "unreachable"),
    ("ServerLive", Code.UNAVAILABLE, CONNECT + "connection attempt timed out before", "timeout"),
    ("ServerLive", Code.UNAVAILABLE, CONNECT + "connect() timed out", "timeout"),
    ("ServerLive", Code.UNAVAILABLE, CONNECT + "FD Shutdown", "timeout"),
    ("ServerLive", Code.UNAVAILABLE, CONNECT + SETTINGS, "unimplemented"),
    (
        "ServerLive",
        Code.UNAVAILABLE,
        CONNECT + "Trying to connect an http1.x server",
        "unimplemented",
    ),
    (
        "ServerLive",
        Code.UNAVAILABLE,
        CONNECT + "Cannot check peer: missing selected ALPN property.",
        "unimplemented",
    ),
    # REFUSED_STREAM as grpcio 1.62 and 1.85 tell it, and ENHANCE_YOUR_CALM.
    ("ServerLive", Code.UNAVAILABLE, "Received RST_STREAM with error code 7", "rejected"),
    (
        "ServerLive",
        Code.UNAVAILABLE,
        "Stream removed (RST_STREAM (Received RST_STREAM with error code 7))",
        "rejected",
    ),
    (
        "ServerLive",
        Code.UNAVAILABLE,
        "GOAWAY received; Error code: 11; Debug Text: too_many_pings",
        "busy",
    ),
    ("ServerLive", Code.UNAVAILABLE, "GOAWAY received; Error code: 2", "unreachable"),
    ("ServerLive", Code.UNAVAILABLE, TLS + "CERTIFICATE_VERIFY_FAILED", "tls"),
    ("ServerLive", Code.UNAVAILABLE, TLS + "WRONG_VERSION_NUMBER", "tls"),
    ("ServerLive", Code.UNAVAILABLE, CONNECT + "Hostname Verification Check failed.", "tls"),
    ("ServerLive", Code.UNAVAILABLE, CONNECT + "Ssl handshake failed: SSL_ERROR_SSL", "tls"),
    ("ServerLive", Code.UNAVAILABLE, CONNECT + "Failed to create security handshaker", "tls"),
    # Envoy, whose own text this is.
    ("ServerLive", Code.UNAVAILABLE, ENVOY + "remote connection failure", "unreachable"),
    ("ServerLive", Code.UNAVAILABLE, ENVOY + "connection timeout", "timeout"),
    ("ServerLive", Code.UNAVAILABLE, ENVOY + "overflow", "busy"),
    ("ServerLive", Code.UNAVAILABLE, ENVOY + "remote reset", "rejected"),
    ("ServerLive", Code.UNAVAILABLE, ENVOY + "remote refused stream reset", "rejected"),
    ("ServerLive", Code.UNAVAILABLE, ENVOY + "protocol error", "unimplemented"),
    (
        "ServerLive",
        Code.UNAVAILABLE,
        ENVOY + "remote connection failure, transport failure reason: TLS_error:|33554536:"
        "system library:OPENSSL_internal:Connection reset by peer",
        "tls",
    ),
    ("ServerLive", Code.UNAVAILABLE, "no healthy upstream", "unreachable"),
    ("ServerLive", Code.UNAVAILABLE, "upstream request timeout", "timeout"),
    ("ServerLive", Code.UNAVAILABLE, "envoy overloaded", "busy"),
    # nginx, and whatever else answers by HTTP alone.
    ("ServerLive", Code.UNAVAILABLE, "Received http2 header with status: 502", "unreachable"),
    ("ServerLive", Code.UNAVAILABLE, "Received http2 header with status: 503", "unreachable"),
    ("ServerLive", Code.UNAVAILABLE, "Received http2 header with status: 504", "timeout"),
    ("ServerLive", Code.UNAVAILABLE, "Received http2 header with status: 429", "busy"),
    ("ServerLive", Code.UNIMPLEMENTED, "Received http2 header with status: 404", "unimplemented"),
    ("ServerLive", Code.UNKNOWN, "Received http2 header with status: 204", "unimplemented"),
    ("ServerLive", Code.UNKNOWN, "Received http2 header with status: 301", "unimplemented"),
    ("ServerLive", Code.INTERNAL, "Received http2 header with status: 400", "unimplemented"),
    ("ServerLive", Code.UNKNOWN, "Received http2 header with status: 408", "timeout"),
    (
        "ServerLive",
        Code.PERMISSION_DENIED,
        "Received http2 header with status: 403",
        "denied",
    ),
    ("ServerLive", Code.UNKNOWN, "Received http2 header with status: 500", "error"),
    # The server itself.
    ("ServerLive", Code.UNAVAILABLE, "Server exiting", "shutting_down"),
    ("ServerLive", Code.UNAVAILABLE, "Cancelling all calls", "shutting_down"),
    ("ModelReady", Code.UNAVAILABLE, "Server not ready", "not_ready"),
    ("ServerLive", Code.UNAVAILABLE, STUB, "denied"),
    ("ServerLive", Code.UNAVAILABLE, "", "rejected"),
    ("ServerLive", Code.UNAVAILABLE, "the model pool is warming up", "rejected"),
    ("ServerLive", Code.UNAVAILABLE, "cannot reach redis: Connection refused", "rejected"),
    ("ServerLive", Code.UNAVAILABLE, "timed out waiting for a GPU", "rejected"),
    ("ServerLive", Code.UNAVAILABLE, "SSL_ERROR of the back end", "rejected"),
    ("ServerLive", Code.CANCELLED, "", "rejected"),
    ("ServerLive", Code.ABORTED, "", "rejected"),
    ("ServerLive", Code.FAILED_PRECONDITION, "", "rejected"),
    ("ServerLive", Code.OUT_OF_RANGE, "", "rejected"),
    ("ServerLive", Code.RESOURCE_EXHAUSTED, "Too many requests", "busy"),
    ("ServerLive", Code.RESOURCE_EXHAUSTED, "", "busy"),
    ("ServerLive", Code.UNAVAILABLE, "Exceeds maximum queue size", "busy"),
    ("ServerLive", Code.UNAVAILABLE, "[request id: 7] Request timeout expired", "busy"),
    ("ServerLive", Code.RESOURCE_EXHAUSTED, "Worker died.", "error"),
    # The local gRPC library's own limits.
    (
        "ServerLive",
        Code.RESOURCE_EXHAUSTED,
        "Stream removed (CLIENT: Received message larger than max (200000 vs. 65536))",
        "error",
    ),
    ("ServerLive", Code.RESOURCE_EXHAUSTED, "Sent message larger than max (9 vs. 8)", "error"),
    (
        "ServerLive",
        Code.RESOURCE_EXHAUSTED,
        "Stream removed (received metadata size exceeds hard limit (value length 2 vs. 1))",
        "error",
    ),
    ("ServerLive", Code.UNAUTHENTICATED, "", "denied"),
    ("ServerLive", Code.PERMISSION_DENIED, "RBAC: access denied", "denied"),
    ("ServerLive", Code.UNIMPLEMENTED, "Method not found!", "unimplemented"),
    ("ModelReady", Code.NOT_FOUND, "Model with name nope does not exist.", "model_not_found"),
    ("ModelReady", Code.UNKNOWN, MLSERVER, "model_not_found"),
    ("ServerLive", Code.NOT_FOUND, "", "rejected"),
    ("ServerLive", Code.INVALID_ARGUMENT, "", "rejected"),
    ("ServerLive", Code.ALREADY_EXISTS, "", "rejected"),
    ("ServerLive", Code.UNKNOWN, "ModelNotFound", "error"),
    ("ServerLive", Code.DATA_LOSS, "", "error"),
    ("ModelReady", Code.UNKNOWN, "Unexpected ValueError", "error"),
    ("ModelReady", Code.INVALID_ARGUMENT, "version abc", "error"),
    ("ModelReady", Code.INTERNAL, "", "error"),
]


@pytest.mark.parametrize(("rpc", "code", "text", "reason"), SEEN)
def test_a_status_that_is_not_ok_has_its_reason(rpc, code, text, reason):
    assert classify(CHECKS[rpc], code, text) == reason


def test_every_reason_but_that_of_a_reply_was_seen():
    assert {reason for *_, reason in SEEN} == set(Reason) - {"ok", "wrong_output"}


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
@pytest.mark.parametrize("rpc", list(CHECKS))
def test_every_code_has_a_reason(rpc, code):
    assert classify(CHECKS[rpc], code, "some text") in set(Reason) - {"ok"}
