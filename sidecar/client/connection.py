"""One gRPC channel to one server, opened when it is needed; calls on serialized messages."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio

from sidecar.client.channel import Target, open_channel
from sidecar.client.errors import Unreadable
from sidecar.client.metadata import Headers, to_metadata
from sidecar.client.report import Reporter
from sidecar.client.timeout import Timeout, UseClientDefault, check_timeout

T = TypeVar("T")


class _Call(Protocol):
    def __call__(self, request: bytes, *, timeout: float | None, metadata: Any) -> Any: ...


class Connection:
    """A channel that is opened for the first call, and again for another event loop.

    target:    the server's address.
    creds:     TLS credentials; None for plaintext.
    options:   the channel's arguments, see `channel.channel_options`.
    service:   full name of the gRPC service.
    timeout:   seconds that a call may take if it has no timeout of its own;
               None for no deadline.
    reporter:  logs each call.

    Raises InvalidInput if the timeout is not valid.
    """

    def __init__(
        self,
        target: Target,
        creds: grpc.ChannelCredentials | None,
        options: list[tuple[str, Any]],
        *,
        service: str,
        timeout: float | None,
        reporter: Reporter,
    ) -> None:
        self._target = target
        self._creds = creds
        self._options = options
        self._service = service
        self._timeout = check_timeout(timeout)
        self._reporter = reporter
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channel: grpc.aio.Channel | None = None
        self._watched: grpc.aio.Channel | None = None
        self._seen = grpc.ChannelConnectivity.IDLE
        self._calls: dict[str, _Call] = {}
        self._streams: set[Any] = set()
        self._closed = False

    async def call(
        self,
        rpc: str,
        request: bytes,
        read: Callable[[bytes], T],
        timeout: Timeout,
        headers: Headers | None,
        about: object = "",
    ) -> T:
        """Make a call with one request and one reply, and return what `read` makes of the reply.

        rpc:      the name of the method, such as `ServerLive`.
        request:  the serialized request message.
        read:     parses the reply; it raises Unreadable if that is not possible.
        timeout:  seconds, None for no deadline, or USE_CLIENT_DEFAULT.
        headers:  sent as metadata; None for none.
        about:    added to the log line.

        Raises InvalidInput, before anything is sent, if the timeout or a header
        is not valid; grpc.aio.AioRpcError if the status is not OK, with the
        status INTERNAL if the reply is Unreadable (as in gRPC's synchronous
        client); grpc.aio.UsageError if the connection is closed; and whatever
        else `read` raises.
        """
        deadline, metadata = self._deadline(timeout), to_metadata(headers)
        channel = self._open()
        call = self._calls.get(rpc)
        if call is None:
            call = self._calls[rpc] = channel.unary_unary(f"/{self._service}/{rpc}")
        with self._reporter.report(rpc, metadata, about):
            return _read(rpc, read, await call(request, timeout=deadline, metadata=metadata))

    def stream(
        self,
        rpc: str,
        request: bytes,
        read: Callable[[bytes], T | None],
        timeout: Timeout,
        headers: Headers | None,
        about: object = "",
    ) -> AsyncGenerator[T, None]:
        """Return an iterator over the replies of a call with one request and any number of replies.

        The arguments and the errors are those of `call`; a reply for which
        `read` returns None is skipped. Invalid arguments raise InvalidInput at
        once. The call is made when the iteration starts, and it is cancelled if
        the iteration is ended before the last reply.
        """
        return self._replies(
            rpc, request, read, self._deadline(timeout), to_metadata(headers), about
        )

    async def _replies(
        self,
        rpc: str,
        request: bytes,
        read: Callable[[bytes], T | None],
        deadline: float | None,
        metadata: tuple[tuple[str, str | bytes], ...],
        about: object,
    ) -> AsyncGenerator[T, None]:
        # A stream of one request has the same bytes on the wire as a single request.
        method: Any = self._open().unary_stream(f"/{self._service}/{rpc}")
        call = method(request, timeout=deadline, metadata=metadata)
        self._streams.add(call)
        try:
            with self._reporter.report(rpc, metadata, about):
                async for reply in call:
                    answer = _read(rpc, read, reply)
                    if answer is not None:
                        yield answer
        finally:
            call.cancel()
            self._streams.discard(call)

    def _deadline(self, timeout: Timeout) -> float | None:
        return self._timeout if isinstance(timeout, UseClientDefault) else check_timeout(timeout)

    @property
    def connected(self) -> bool:
        """Whether a connection is established now."""
        ready = grpc.ChannelConnectivity.READY
        return self._channel is not None and self._channel.get_state() is ready

    async def wait_changed(self) -> bool:
        """Wait until a connection is established, then return True; or lost, then return False.

        Each wait starts from the state that the wait before it has seen, so
        that a change between two waits is not missed. When the channel is
        replaced, this does not count as a loss; the new channel is waited on.

        Raises grpc.aio.UsageError if the connection is closed.
        """
        while True:
            channel = self._open()
            if channel is not self._watched:
                self._watched, self._seen = channel, channel.get_state()
            while self._seen is not grpc.ChannelConnectivity.SHUTDOWN:
                await channel.wait_for_state_change(self._seen)
                before, self._seen = self._seen, channel.get_state()
                if self._seen is grpc.ChannelConnectivity.SHUTDOWN:
                    break
                was, now = (s is grpc.ChannelConnectivity.READY for s in (before, self._seen))
                if was is not now:
                    return now

    async def reconnect(self, grace: float | None = None) -> None:
        """Close the channel; the next call opens a new one.

        grace:  seconds that calls in progress get to end; None cancels them now.
        """
        channel, self._channel = self._channel, None
        streams, self._streams = self._streams, set()
        if channel is not None and self._loop is asyncio.get_running_loop():
            await channel.close(grace)
            for call in streams:  # grpcio 1.62 does not cancel them
                call.cancel()

    async def close(self, grace: float | None = None) -> None:
        """Close the channel for good; a second close does nothing. `grace` as in `reconnect`."""
        self._closed = True
        await self.reconnect(grace)

    def _open(self) -> grpc.aio.Channel:
        """Return the channel of the running event loop; open one if there is none."""
        if self._closed:
            raise grpc.aio.UsageError("the client is closed")
        loop = asyncio.get_running_loop()
        if self._channel is None or self._loop is not loop:
            self._channel = open_channel(self._target, self._creds, self._options)
            self._loop = loop
            self._calls = {}
        return self._channel


def _read(rpc: str, read: Callable[[bytes], T], reply: bytes | None) -> T:
    try:
        return read(_present(reply))
    except Unreadable as error:
        raise grpc.aio.AioRpcError(
            grpc.StatusCode.INTERNAL,
            grpc.aio.Metadata(),
            grpc.aio.Metadata(),
            details=f"the reply to {rpc} cannot be parsed: {error}",
        ) from error


def _present(reply: bytes | None) -> bytes:
    if reply is None:  # the status is OK, but the server sent no message
        raise Unreadable("there is no message")
    return reply
