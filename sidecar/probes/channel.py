"""The gRPC channel fit for probing: its arguments, and the connection that the probes share."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import grpc

from sidecar import __version__
from sidecar.blocking import BlockingCalls
from sidecar.client.channel import parse_url
from sidecar.client.health import HealthClient
from sidecar.core.checks import Check
from sidecar.core.reasons import Reason
from sidecar.core.target import Target
from sidecar.probes import addresses
from sidecar.probes.classify import classify

# So many ServerLive questions in a row without an answer, and the connection is
# given up: behind a path that was cut silently gRPC would ask along it for
# minutes more (measured: 62 s with keep-alive, never within 85 s without).
MAX_TIMEOUTS = 2

# A server may put a whole stack trace into its status text.
MAX_DETAIL = 500

# A health reply is two bytes long; whatever is larger is not one.
MAX_REPLY_BYTES = 64 * 1024

ChannelArgs = list[tuple[str, str | int]]

# A reason, and the text behind it.
Found = tuple[Reason, str]

# A call on a client; whether the server's answer is yes.
Call = Callable[[HealthClient], Awaitable[bool]]


def channel_args(target: Target) -> ChannelArgs:
    """What makes a gRPC channel fit for asking after health.

    No retry policy, because a probe wants the first answer; retries as such
    stay on, so that a call which the server never processed (it closed the
    connection with GOAWAY) is sent again by gRPC itself. No proxy, because the
    server is next door. A subchannel pool of its own, because the shared one
    keeps the back-off of other channels. Back-off stays below the recovery
    period (gRPC's default reaches two minutes, and half a minute between two
    look-ups of a name), and an attempt to connect ends with the deadline of
    the question that it serves.
    """
    backoff = int(max(100, target.recovery_period * 500))
    args: ChannelArgs = [
        ("grpc.enable_retries", 1),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.initial_reconnect_backoff_ms", min(200, backoff)),
        ("grpc.max_reconnect_backoff_ms", backoff),
        ("grpc.min_reconnect_backoff_ms", int(target.timeout * 1000)),
        ("grpc.dns_min_time_between_resolutions_ms", backoff),
        ("grpc.max_receive_message_length", MAX_REPLY_BYTES),
        ("grpc.primary_user_agent", f"inference-health-sidecar/{__version__}"),
    ]
    if target.server_name is not None:
        args.append(("grpc.ssl_target_name_override", target.server_name))
    # With TLS this is also the name to expect, unless it is overridden.
    authority = target.authority or target.server_name
    if authority is not None:
        args.append(("grpc.default_authority", authority))
    return args


class Connection:
    """The connection to the server that all probes of one target share.

    client:   makes the calls.
    headers:  to be sent with every call.

    ValueError when the target cannot be used.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._timeouts = 0
        args = channel_args(target)
        where = parse_url(target.url, tls=target.tls)
        self._tls = where.tls  # which the scheme may have decided, and an address has none
        # A name that was given to expect says how the server is to be addressed.
        named = target.authority or target.server_name
        self._args_by_address = args if named else [*args, *addresses.named(where.address)]
        calls = BlockingCalls("looking up the server's name", target.timeout)
        self._urls = partial(addresses.urls, where.address, partial(addresses.look_up, calls))
        self.headers = dict(target.headers)
        self.client = self._client(target.url, args)

    async def by_address(self) -> Sequence[HealthClient]:
        """A client for each address of the server's name, or of a list; none for one address."""
        return [self._client(url, self._args_by_address) for url in await self._urls()]

    async def ask(self, check: Check, call: Call, client: HealthClient | None = None) -> Found:
        """The reason that a call ends with: a failing server is an answer, never an exception."""
        try:
            return Reason.OK if await call(client or self.client) else Reason.NOT_READY, ""
        except grpc.aio.AioRpcError as error:
            code, text = error.code(), error.details() or ""
            return classify(check, code, text), f"{code.name}: {text}"[:MAX_DETAIL]

    async def note_live(self, answer: Reason) -> None:
        """Opens another connection when ServerLive was not answered for the last time allowed.

        While ServerLive is asked nothing else may be: its answer decides over
        the connection that all share.
        """
        self._timeouts = self._timeouts + 1 if answer is Reason.TIMEOUT else 0
        if self._timeouts == MAX_TIMEOUTS:
            self._timeouts = 0
            await self.client.reconnect()

    async def wait_changed(self) -> bool:
        """Whether the connection is established or lost, when it is; UsageError once closed."""
        return await self.client.wait_changed()

    async def close(self) -> None:
        """Closes the client; questions under way still get their answers."""
        # One that was asked a moment ago ends at its own deadline, not by being cancelled.
        await self.client.close(grace=2 * self._target.timeout)

    def _client(self, url: str, args: ChannelArgs) -> HealthClient:
        target = self._target
        return HealthClient(
            url,
            use_ssl=self._tls,
            root_certificates=target.root_certificates,
            private_key=target.private_key,
            certificate_chain=target.certificate_chain,
            channel_args=args,
            retries=0,
            grpc_service=target.service,
        )
