"""One gRPC channel to one server: a call on bytes, its deadline, its headers and its log line."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio

from sidecar.client.channel import Target, open_channel
from sidecar.client.errors import InferenceError, InvalidInput, Unreadable
from sidecar.client.metadata import Headers, to_metadata
from sidecar.client.timeout import Timeout, UseClientDefault, check_timeout

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_LINE = 2000

# How gRPC says that the server closed the connection before it answered.
CLOSED = ("Socket closed", "Connection reset by peer", "Handshake read failed")


class _Call(Protocol):
    def __call__(self, request: bytes, *, timeout: float | None, metadata: Any) -> Any: ...


class Connection:
    """Opens its channel when it is first needed, and in another event loop another one.

    timeout:    the deadline in seconds of a call that has none of its own.
    level:      of the line that each call logs.
    suspicion:  what may be wrong when the server closes every connection.
    """

    def __init__(
        self,
        target: Target,
        creds: grpc.ChannelCredentials | None,
        options: list[tuple[str, Any]],
        *,
        service: str,
        timeout: float | None,
        level: int,
        suspicion: str,
    ) -> None:
        self._target = target
        self._creds = creds
        self._options = options
        self._service = service
        self._timeout = check_timeout(timeout)
        self._level = level
        self._suspicion = suspicion
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channel: grpc.aio.Channel | None = None
        self._watched: grpc.aio.Channel | None = None
        self._seen = grpc.ChannelConnectivity.IDLE
        self._calls: dict[str, _Call] = {}
        self._streams: set[Any] = set()
        self._closed = False

    async def ask(
        self,
        rpc: str,
        request: bytes,
        read: Callable[[bytes], T],
        timeout: Timeout,
        headers: Headers | None,
        about: object = "",
    ) -> T:
        """Makes a call and reads its reply; grpc.RpcError when the answer is not OK.

        A reply that `read` finds Unreadable is INTERNAL, as gRPC's synchronous
        client has it. `about` is what the log line tells of the request.
        """
        deadline, metadata = self._deadline(timeout), to_metadata(headers)
        channel = self._open()
        call = self._calls.get(rpc)
        if call is None:
            call = self._calls[rpc] = channel.unary_unary(f"/{self._service}/{rpc}")
        with self._reported(rpc, metadata, about):
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
        """As `ask`, for a call with one request and any number of replies.

        The call is made with the first step, and cancelled when the iteration
        ends before it does. A reply that `read` makes None of is left out.
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
        # On the wire a stream of one request is what a single request is.
        method: Any = self._open().unary_stream(f"/{self._service}/{rpc}")
        call = method(request, timeout=deadline, metadata=metadata)
        self._streams.add(call)
        try:
            with self._reported(rpc, metadata, about):
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
        """Returns when a connection is established, with True, or lost, with False.

        Each wait is given the state that was last seen, by the wait before it
        too. A state read afresh could hide a change in between. A channel that
        is replaced has lost nothing; its successor is waited on.
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
        """Lets go of the channel; the next call opens another.

        Calls under way get so many seconds to end, and without them are cancelled.
        """
        channel, self._channel = self._channel, None
        streams, self._streams = self._streams, set()
        if channel is not None and self._loop is asyncio.get_running_loop():
            await channel.close(grace)
            for call in streams:  # which grpcio 1.62 leaves open
                call.cancel()

    async def close(self, grace: float | None = None) -> None:
        """Closes the channel; a second close does nothing. `grace` as of reconnect()."""
        self._closed = True
        await self.reconnect(grace)

    def _open(self) -> grpc.aio.Channel:
        """The channel of the running loop; a new loop gets a new one."""
        if self._closed:
            raise grpc.aio.UsageError("the client is closed")
        loop = asyncio.get_running_loop()
        if self._channel is None or self._loop is not loop:
            self._channel = open_channel(self._target, self._creds, self._options)
            self._loop = loop
            self._calls = {}
        return self._channel

    def _explain(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """The error, with the suspicion where gRPC's own text leaves everything open."""
        details = error.details() or ""
        if "failed to connect" not in details or not any(end in details for end in CLOSED):
            return error
        return grpc.aio.AioRpcError(
            error.code(),
            error.initial_metadata(),
            error.trailing_metadata(),
            details=f"{details} ({self._suspicion})",
            debug_error_string=error.debug_error_string(),
        )

    @contextmanager
    def _reported(
        self, rpc: str, metadata: tuple[tuple[str, str | bytes], ...], about: object
    ) -> Iterator[None]:
        """Around a call: explains its error, and logs one line when it has ended."""
        started = time.perf_counter()
        outcome = "cancelled"
        try:
            yield
            outcome = "OK"
        except grpc.aio.AioRpcError as error:
            error = self._explain(error)
            outcome = f"{error.code().name}: {error.details()}"
            raise error from None
        except InvalidInput as error:
            outcome = f"answered what cannot be used: {error.reason}"
            raise
        except InferenceError as error:
            outcome = f"answered an error: {error.reason}"
            raise
        finally:
            if logger.isEnabledFor(self._level):
                took = time.perf_counter() - started
                self._log(f"{rpc} {outcome} in {took:.4f} s", metadata, about)

    def _log(self, call: str, metadata: tuple[tuple[str, str | bytes], ...], about: object) -> None:
        """One line. Of the headers it has the names only, for any value may be a secret."""
        names = ", ".join(name for name, _ in metadata)
        line = f"{self._target.address} {call}"
        line += f"; {about}" if about else ""
        line += f"; headers: {names}" if names else ""
        # The server's own text may have line breaks; they would forge a line of ours.
        line = "".join(c if c.isprintable() else " " for c in line)
        logger.log(self._level, "%s", line[:MAX_LINE])


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
    if reply is None:  # the status is OK, and no message came with it
        raise Unreadable("there is no message")
    return reply
