"""One check asked, one observation back."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import grpc

from sidecar.client.health import HealthClient as InferenceGRPCClient
from sidecar.client.metadata import Headers
from sidecar.core.checks import SERVER_LIVE, Answer, Check, Observation, Rpc
from sidecar.core.reasons import evidence_of_life
from sidecar.probes.classify import CONNECT_FAILED, classify

# So many ServerLive questions in a row without an answer, and the connection is
# given up: behind a path that was cut silently gRPC would ask along it for
# minutes more (measured: 62 s with keep-alive, never within 85 s without).
MAX_TIMEOUTS = 2

# A server may put a whole stack trace into its status text.
MAX_DETAIL = 500

ChannelArgs = list[tuple[str, str | int]]

# An answer, and the text behind it.
Found = tuple[Answer, str]

ByAddress = Callable[[], Awaitable[Sequence[InferenceGRPCClient]]]

# While there is no connection, ServerLive is also asked of each address by itself, once this
# share of the deadline is over or gRPC could not connect.
PATIENCE = 0.25

# A health reply is two bytes long; whatever is larger is not one.
MAX_REPLY_BYTES = 64 * 1024


def channel_args(
    *,
    timeout: float,
    recovery_period: float,
    server_name: str | None,
    authority: str | None = None,
    user_agent: str,
) -> ChannelArgs:
    """What makes a gRPC channel fit for asking after health. Durations in seconds.

    No retry policy, because a probe wants the first answer; retries as such
    stay on, so that a call which the server never processed (it closed the
    connection with GOAWAY) is sent again by gRPC itself. No proxy, because the
    server is next door. A subchannel pool of its own, because the shared one
    keeps the back-off of other channels. Back-off stays below the recovery
    period (gRPC's default reaches two minutes, and half a minute between two
    look-ups of a name), and an attempt to connect ends with the deadline of
    the question that it serves.
    """
    backoff = int(max(100, recovery_period * 500))
    args: ChannelArgs = [
        ("grpc.enable_retries", 1),
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

    timeout:     deadline of every single question, in seconds.
    clock:       monotonic seconds.
    by_address:  makes a client for each address of the server's name, or of a
                 list; they are used for one question and closed.
    """

    def __init__(
        self,
        client: InferenceGRPCClient,
        *,
        timeout: float,
        headers: Headers,
        clock: Callable[[], float],
        by_address: ByAddress | None = None,
    ) -> None:
        self._client = client
        self._timeout = timeout
        self._headers = headers
        self._clock = clock
        self._by_address = by_address
        self._timeouts = 0

    async def ask(self, check: Check) -> Observation:
        """Asks one check once, and says what came back.

        While ServerLive is asked nothing else may be: its answer decides over
        the connection that all share.
        """
        started = self._clock()
        if check.rpc is Rpc.SERVER_LIVE and self._by_address and not self._client.connected:
            answer, detail = await self._ask_without_connection(self._by_address)
        else:
            answer, detail = await self._ask(self._client, check, self._timeout)
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

    async def _ask(self, client: InferenceGRPCClient, check: Check, seconds: float) -> Found:
        try:
            return Answer.OK if await self._call(client, check, seconds) else Answer.NOT_READY, ""
        except grpc.aio.AioRpcError as error:
            code, text = error.code(), error.details() or ""
            return classify(check.rpc, code, text), f"{code.name}: {text}"[:MAX_DETAIL]

    async def _ask_without_connection(self, by_address: ByAddress) -> Found:
        """Asks ServerLive, and each address by itself where gRPC cannot connect.

        The strongest evidence of life among the answers counts.
        """
        ends = self._clock() + self._timeout
        asking = asyncio.ensure_future(self._ask(self._client, SERVER_LIVE, self._timeout))
        each: asyncio.Future[list[Found]] | None = None
        try:
            await asyncio.wait({asking}, timeout=PATIENCE * self._timeout)
            if _says_enough(asking):
                return asking.result()
            each = asyncio.ensure_future(self._ask_each(by_address, ends))
            await asyncio.wait({asking, each}, return_when=asyncio.FIRST_COMPLETED)
            if _says_enough(asking):
                return asking.result()
            answers = [*await each, await asking]
        finally:
            asking.cancel()
            if each is not None:
                each.cancel()
        return max(answers, key=lambda found: evidence_of_life(found[0]))

    async def _ask_each(self, by_address: ByAddress, ends: float) -> list[Found]:
        """What each address answers; nothing when the look-up left them too little time."""
        latest = ends - PATIENCE * self._timeout
        try:
            async with asyncio.timeout(latest - self._clock()):
                clients = await by_address()
        except TimeoutError:
            return []
        async with asyncio.TaskGroup() as group:
            left = ends - self._clock()
            asked = [group.create_task(self._ask_once(client, left)) for client in clients]
        return [one.result() for one in asked]

    async def _ask_once(self, client: InferenceGRPCClient, seconds: float) -> Found:
        async with client:
            return await self._ask(client, SERVER_LIVE, seconds)

    def _call(self, client: InferenceGRPCClient, check: Check, timeout: float) -> Awaitable[bool]:
        if check.rpc is Rpc.MODEL_READY:
            return client.is_model_ready(
                check.model, timeout, self._headers, model_version=check.version
            )
        if check.rpc is Rpc.SERVER_READY:
            return client.is_server_ready(timeout, self._headers)
        return client.is_server_live(timeout, self._headers)


def _says_enough(asking: "asyncio.Future[Found]") -> bool:
    """Whether the answer is there, and no other address could prove more life."""
    if not asking.done():
        return False
    answer, detail = asking.result()
    return answer is not Answer.TIMEOUT and CONNECT_FAILED not in detail


class SwappableProber:
    """Asks through one prober after another; no question is lost when they change."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober
        self._servers = 1

    async def ask(self, check: Check) -> Observation:
        """Asks one check, through the prober of this moment.

        When another server is asked by the time the answer is there, it says
        nothing about that one, and the check is asked again.
        """
        while True:
            prober, server = self._prober, self._servers
            try:
                seen = await prober.ask(check)
            except grpc.aio.UsageError:  # it was closed before the question was sent
                if prober is self._prober:
                    raise
                continue
            if server == self._servers:
                return seen

    async def wait_changed(self) -> bool:
        """Whether the connection is established or lost, when it is; replaced counts as lost."""
        prober = self._prober
        try:
            return await prober.wait_changed()
        except grpc.aio.UsageError:  # it has been closed
            if prober is self._prober:
                raise
            return False

    async def replace(self, prober: Prober, *, other_server: bool) -> None:
        """Asks through another from now on, and closes the one before when it has its answers."""
        self._servers += other_server
        before, self._prober = self._prober, prober
        await before.close()

    async def close(self) -> None:
        """Closes the prober of this moment."""
        await self._prober.close()
