"""Hints for failing checks, one line per reason; for `sidecar check`."""

from collections.abc import Iterable, Iterator, Mapping

from sidecar import DOCS
from sidecar.core.reasons import Reason, for_each_reason
from sidecar.core.rules import STALE, UNCONFIGURED, UNKNOWN, Finding

LOG = "the server's own text is on standard error"

OF_RESULTS: Mapping[Reason, str] = for_each_reason(
    {
        Reason.OK: "not enough consecutive successes yet; wait",
        Reason.NOT_READY: "the server is loading, or the model is not ready: see the server's log",
        Reason.MODEL_NOT_FOUND: "models must have the name and version of the server's model",
        Reason.UNREACHABLE: "is the server running, and is server_url its gRPC port?",
        Reason.SHUTTING_DOWN: "the server is exiting; wait until it has restarted",
        Reason.TIMEOUT: "the server is busy or frozen, or timeout_seconds is too short",
        Reason.BUSY: "the server is overloaded: its queue, its quota, its threads",
        Reason.REJECTED: LOG,
        Reason.TLS: "tls_ca_file, tls_server_name and server_url must match the server",
        Reason.DENIED: "headers or bearer_token_file must have the server's credentials",
        Reason.UNIMPLEMENTED: "is server_url the gRPC port, and is grpc_service correct?",
        Reason.ERROR: LOG,
        Reason.INVALID_REQUEST: "the canary's request does not fit the model; see sidecar canary",
        Reason.WRONG_OUTPUT: "the reply differs from the expected one; see sidecar canary",
    }
)
ADVICE: Mapping[str, str] = {
    **{str(reason): text for reason, text in OF_RESULTS.items()},
    UNKNOWN: "no result in time; --wait gives it more time",
    STALE: "the last result is too old; does the sidecar have enough CPU?",
    UNCONFIGURED: "configure a request for the canary with canary_dir",
}


def lines(findings: Iterable[Finding]) -> Iterator[str]:
    """Yield the findings as in /readyz?verbose, with a hint below the first of each reason."""
    hinted = set()
    for finding in findings:
        yield finding.line
        if not finding.passing and finding.reason not in hinted:
            hinted.add(finding.reason)
            yield f"    hint: {ADVICE[finding.reason]}"
            yield f"    {DOCS}/how-it-decides.md#{finding.reason}"
