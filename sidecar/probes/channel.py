"""The channel options for probing, and the connection that all probes share."""

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

# After this many consecutive ServerLive calls without an answer, a new connection is opened.
# If the network drops packets silently, gRPC would use the old one for minutes (measured: 62 s
# with keepalive, not within 85 s without).
MAX_TIMEOUTS = 2

# The status text may contain a whole stack trace.
MAX_DETAIL = 500

# The reply to a health call has two bytes.
MAX_REPLY_BYTES = 64 * 1024

ChannelArgs = list[tuple[str, str | int]]

# A reason and its text.
Found = tuple[Reason, str]

# Makes a call with a client; returns whether the server answered true.
Call = Callable[[HealthClient], Awaitable[bool]]


def channel_args(target: Target) -> ChannelArgs:
    """Return the gRPC channel arguments for probing.

    There is no retry policy, because a probe needs the first answer; retries stay
    enabled, so that gRPC repeats a call that the server did not process (it closed
    the connection with GOAWAY). No proxy is used, because the server is in the same
    pod. The subchannel pool is not shared, because the shared pool keeps the backoff
    of other channels. The backoff is at most the recovery period (gRPC's default is
    up to two minutes, and half a minute between two lookups of a name). An attempt
    to connect has the timeout of the probe.
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
    # With TLS this is also the expected server name, unless it is overridden.
    authority = target.authority or target.server_name
    if authority is not None:
        args.append(("grpc.default_authority", authority))
    return args


class Connection:
    """The connection to the server, which all probes of one target share.

    client:   makes the calls.
    headers:  sent with every call.

    Raises ValueError if the target cannot be used.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._timeouts = 0
        args = channel_args(target)
        where = parse_url(target.url, tls=target.tls)
        self._tls = where.tls  # the URL of a single address has no scheme
        # An expected server name is also the authority.
        named = target.authority or target.server_name
        self._args_by_address = args if named else [*args, *addresses.named(where.address)]
        calls = BlockingCalls("looking up the server's name", target.timeout)
        self._urls = partial(addresses.urls, where.address, partial(addresses.look_up, calls))
        self.headers = dict(target.headers)
        self.client = self._client(target.url, args)

    async def by_address(self) -> Sequence[HealthClient]:
        """Return a client for each address of the server; none if the URL is a single address."""
        return [self._client(url, self._args_by_address) for url in await self._urls()]

    async def ask(self, check: Check, call: Call, client: HealthClient | None = None) -> Found:
        """Make a call and return its reason; a failing server is a result, not an exception."""
        try:
            return Reason.OK if await call(client or self.client) else Reason.NOT_READY, ""
        except grpc.aio.AioRpcError as error:
            code, text = error.code(), error.details() or ""
            return classify(check, code, text), f"{code.name}: {text}"[:MAX_DETAIL]

    async def note_live(self, answer: Reason) -> None:
        """Count ServerLive calls without an answer; reconnect after too many of them.

        No other call may be in progress during ServerLive, because its result decides
        on the shared connection.
        """
        self._timeouts = self._timeouts + 1 if answer is Reason.TIMEOUT else 0
        if self._timeouts == MAX_TIMEOUTS:
            self._timeouts = 0
            await self.client.reconnect()

    async def wait_changed(self) -> bool:
        """Wait for a change; return whether a connection is established. UsageError once closed."""
        return await self.client.wait_changed()

    async def close(self) -> None:
        """Close the client; calls in progress still complete."""
        # A call that has just started ends at its own deadline and is not cancelled.
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
