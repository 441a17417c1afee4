"""What to do about a check that fails, a line for each reason; for `sidecar check`."""

from collections.abc import Iterable, Iterator, Mapping

from sidecar import DOCS
from sidecar.core.reasons import Reason, for_each_reason
from sidecar.core.rules import STALE, UNCONFIGURED, UNKNOWN, Finding

LOG = "the server's own text is on standard error"

OF_RESULTS: Mapping[Reason, str] = for_each_reason(
    {
        Reason.OK: "it has not succeeded often enough in a row; wait",
        Reason.NOT_READY: "the server is loading, or the model itself says no: see its log",
        Reason.MODEL_NOT_FOUND: "models must have name and version as the server knows them",
        Reason.UNREACHABLE: "is the server running, and is server_url its gRPC port?",
        Reason.SHUTTING_DOWN: "the server is exiting; wait for the next one",
        Reason.TIMEOUT: "the server is busy or frozen; timeout_seconds may be too short for it",
        Reason.BUSY: "the server is overloaded: its queue, its quota, its threads",
        Reason.REJECTED: LOG,
        Reason.TLS: "tls_ca_file, tls_server_name and server_url must fit the server's TLS",
        Reason.DENIED: "headers or bearer_token_file must have what the server wants",
        Reason.UNIMPLEMENTED: "is server_url the gRPC port, and grpc_service the right one?",
        Reason.ERROR: LOG,
        Reason.INVALID_REQUEST: "the canary's request does not fit the model: sidecar canary",
        Reason.WRONG_OUTPUT: "the canary's expectation does not fit the reply: sidecar canary",
    }
)
ADVICE: Mapping[str, str] = {
    **{str(reason): text for reason, text in OF_RESULTS.items()},
    UNKNOWN: "there was no result in time; --wait gives it more",
    STALE: "the last result is too old; is there too little CPU?",
    UNCONFIGURED: "give the canary a request: canary_dir",
}


def lines(findings: Iterable[Finding]) -> Iterator[str]:
    """The findings as /readyz?verbose prints them; under the first of each reason a hint."""
    told = set()
    for finding in findings:
        yield finding.line
        if not finding.passing and finding.reason not in told:
            told.add(finding.reason)
            yield f"    hint: {ADVICE[finding.reason]}"
            yield f"    {DOCS}/how-it-decides.md#{finding.reason}"
