"""One check asked, one observation back; the one table from gRPC's errors to our words."""

from collections.abc import Awaitable, Callable

import grpc

from sidecar.client import InferenceGRPCClient
from sidecar.client.metadata import Headers
from sidecar.health.checks import Answer, Check, Observation, Rpc

# Read from top to bottom; the first row that fits decides. A row is a status
# code, a part of the server's or gRPC's own text ("" fits any), and the word.
# The texts were seen on KServe 0.21.0, MLServer 1.7.1, Triton 2.51.0 and grpcio 1.85.1.
TABLE: tuple[tuple[grpc.StatusCode, str, Answer], ...] = (
    (grpc.StatusCode.DEADLINE_EXCEEDED, "", Answer.TIMEOUT),
    (grpc.StatusCode.UNIMPLEMENTED, "", Answer.UNIMPLEMENTED),
    (grpc.StatusCode.UNAUTHENTICATED, "", Answer.DENIED),
    (grpc.StatusCode.PERMISSION_DENIED, "", Answer.DENIED),
    # Triton, when a protocol is restricted to callers with a certain header.
    (grpc.StatusCode.UNAVAILABLE, "protocol is restricted", Answer.DENIED),
    (grpc.StatusCode.UNAVAILABLE, "Server exiting", Answer.SHUTTING_DOWN),
    (grpc.StatusCode.UNAVAILABLE, "Server not ready", Answer.NOT_READY),
    # gRPC, when the TLS handshake fails, by whose fault it was.
    (grpc.StatusCode.UNAVAILABLE, "CERTIFICATE_VERIFY_FAILED", Answer.TLS),
    (grpc.StatusCode.UNAVAILABLE, "Hostname Verification Check failed", Answer.TLS),
    (grpc.StatusCode.UNAVAILABLE, "is not in peer certificate", Answer.TLS),  # grpcio 1.62
    (grpc.StatusCode.UNAVAILABLE, "WRONG_VERSION_NUMBER", Answer.TLS),
    (grpc.StatusCode.UNAVAILABLE, "SSL_ERROR", Answer.TLS),
    (grpc.StatusCode.UNAVAILABLE, "Ssl handshake", Answer.TLS),
    (grpc.StatusCode.UNAVAILABLE, "security handshaker", Answer.TLS),
    # A peer that accepts and never speaks, as a frozen server does, and a path on which
    # everything is lost: no answer in time, though gRPC calls it a failure to connect.
    (grpc.StatusCode.UNAVAILABLE, "timed out", Answer.TIMEOUT),
    (grpc.StatusCode.UNAVAILABLE, "FD Shutdown", Answer.TIMEOUT),  # grpcio 1.62
    (grpc.StatusCode.UNAVAILABLE, "", Answer.UNREACHABLE),
)

# Only a question about a model can end in "no such model". MLServer says so
# with UNKNOWN and the name of its exception.
MODEL_TABLE: tuple[tuple[grpc.StatusCode, str, Answer], ...] = (
    (grpc.StatusCode.NOT_FOUND, "", Answer.MODEL_NOT_FOUND),
    (grpc.StatusCode.UNKNOWN, "ModelNotFound", Answer.MODEL_NOT_FOUND),
    *TABLE,
)

# So many ServerLive questions in a row without an answer, and the connection is
# given up: behind a path that was cut silently gRPC would ask along it for
# minutes more (measured: 62 s with keep-alive, never within 85 s without).
MAX_TIMEOUTS = 2

# A server may put a whole stack trace into its status text.
MAX_DETAIL = 500

# A health reply is two bytes long; whatever is larger is not one.
MAX_REPLY_BYTES = 64 * 1024


def channel_args(
    *,
    timeout: float,
    recovery_period: float,
    server_name: str | None,
    authority: str | None = None,
    user_agent: str,
) -> list[tuple[str, str | int]]:
    """What makes a gRPC channel fit for asking after health. Durations in seconds.

    No retries, because a probe wants the first answer. No proxy, because the
    server is next door. A subchannel pool of its own, because the shared one
    keeps the back-off of other channels. Back-off stays below the recovery
    period (gRPC's default reaches two minutes, and half a minute between two
    look-ups of a name), and an attempt to connect ends with the deadline of
    the question that it serves.
    """
    backoff = int(max(100, recovery_period * 500))
    args: list[tuple[str, str | int]] = [
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.initial_reconnect_backoff_ms", min(200, backoff)),
        ("grpc.max_reconnect_backoff_ms", backoff),
        ("grpc.min_reconnect_backoff_ms", int(timeout * 1000)),
        ("grpc.dns_min_time_between_resolutions_ms", backoff),
        ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
        ("grpc.primary_user_agent", user_agent),
    ]
    if server_name is not None:
        args.append(("grpc.ssl_target_name_override", server_name))
    # With TLS this is also the name to expect, unless it is overridden.
    if authority is not None or server_name is not None:
        args.append(("grpc.default_authority", authority or str(server_name)))
    return args


class Prober:
    """Asks through the client. A failing server is an answer, never an exception.

    `timeout` is the deadline of every single question in seconds; `clock`
    gives monotonic seconds.
    """

    def __init__(
        self,
        client: InferenceGRPCClient,
        *,
        timeout: float,
        headers: Headers,
        clock: Callable[[], float],
    ) -> None:
        self._client = client
        self._timeout = timeout
        self._headers = headers
        self._clock = clock
        self._timeouts = 0

    async def ask(self, check: Check) -> Observation:
        """Asks one check once, and says what came back.

        While ServerLive is asked nothing else may be: its answer decides over
        the connection that all share.
        """
        started = self._clock()
        detail = ""
        try:
            answer = Answer.OK if await self._call(check) else Answer.NOT_READY
        except grpc.aio.AioRpcError as error:
            code, text = error.code(), error.details() or ""
            answer = classify(check.rpc, code, text)
            detail = f"{code.name}: {text}"[:MAX_DETAIL]
        at = self._clock()
        if check.rpc is Rpc.SERVER_LIVE:
            await self._judge_connection(answer)
        return Observation(check, answer, at, at - started, detail)

    async def wait_changed(self) -> bool:
        """Whether the connection is established or lost, when it is; UsageError once closed."""
        return await self._client.wait_changed()

    async def close(self) -> None:
        """Closes the client; questions under way still get their answers."""
        # One that was asked a moment ago ends at its own deadline, not by being cancelled.
        await self._client.close(grace=2 * self._timeout)

    async def _judge_connection(self, answer: Answer) -> None:
        self._timeouts = self._timeouts + 1 if answer is Answer.TIMEOUT else 0
        if self._timeouts == MAX_TIMEOUTS:
            self._timeouts = 0
            await self._client.reconnect()

    def _call(self, check: Check) -> Awaitable[bool]:
        if check.rpc is Rpc.MODEL_READY:
            return self._client.is_model_ready(
                check.model, self._timeout, self._headers, model_version=check.version
            )
        if check.rpc is Rpc.SERVER_READY:
            return self._client.is_server_ready(self._timeout, self._headers)
        return self._client.is_server_live(self._timeout, self._headers)


class Link:
    """Asks through one prober after another; no question is lost when they change."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober

    def ask(self, check: Check) -> Awaitable[Observation]:
        """Asks one check once, through the prober of this moment."""
        return self._prober.ask(check)

    async def wait_changed(self) -> bool:
        """Whether the connection is established or lost, when it is; replaced counts as lost."""
        prober = self._prober
        try:
            return await prober.wait_changed()
        except grpc.aio.UsageError:  # it has been closed
            if prober is self._prober:
                raise
            return False

    async def replace(self, prober: Prober) -> None:
        """Asks through another from now on, and closes the one before when it has its answers."""
        before, self._prober = self._prober, prober
        await before.close()

    async def close(self) -> None:
        """Closes the prober of this moment."""
        await self._prober.close()


def classify(rpc: Rpc, code: grpc.StatusCode, text: str) -> Answer:
    """The word for a status that is not OK."""
    for row_code, part, answer in MODEL_TABLE if rpc is Rpc.MODEL_READY else TABLE:
        if code is row_code and part in text:
            return answer
    return Answer.ERROR
