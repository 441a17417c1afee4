"""One gRPC channel to one server: a call on bytes, its deadline, its headers and its log line."""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from numbers import Real
from typing import Any, Final, Protocol, TypeVar

import grpc
import grpc.aio

from sidecar.client.channel import Target, open_channel
from sidecar.client.errors import InvalidInput, Unreadable
from sidecar.client.metadata import Headers, to_metadata

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Thirty years.
MAX_TIMEOUT = 1e9
MAX_LINE = 2000


class UseClientDefault:
    """The type of USE_CLIENT_DEFAULT: the timeout that was given to the client."""

    def __repr__(self) -> str:
        return "USE_CLIENT_DEFAULT"


USE_CLIENT_DEFAULT: Final = UseClientDefault()

Timeout = float | None | UseClientDefault


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
        deadline = (
            self._timeout if isinstance(timeout, UseClientDefault) else check_timeout(timeout)
        )
        metadata = to_metadata(headers)
        channel = self._open()
        call = self._calls.get(rpc)
        if call is None:
            call = self._calls[rpc] = channel.unary_unary(f"/{self._service}/{rpc}")
        started = time.perf_counter()
        outcome = "cancelled"
        try:
            reply = await call(request, timeout=deadline, metadata=metadata)
            answer = _read(rpc, read, reply)
            outcome = "OK"
        except grpc.aio.AioRpcError as error:
            error = self._explain(error)
            outcome = f"{error.code().name}: {error.details()}"
            raise error from None
        except InvalidInput as error:
            outcome = f"answered what cannot be used: {error.reason}"
            raise
        finally:
            self._log(rpc, outcome, started, metadata, about)
        return answer

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
        if channel is not None and self._loop is asyncio.get_running_loop():
            await channel.close(grace)

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
        if "failed to connect" not in details or not details.endswith("Socket closed"):
            return error
        return grpc.aio.AioRpcError(
            error.code(),
            error.initial_metadata(),
            error.trailing_metadata(),
            details=f"{details} ({self._suspicion})",
            debug_error_string=error.debug_error_string(),
        )

    def _log(
        self,
        rpc: str,
        outcome: str,
        started: float,
        metadata: tuple[tuple[str, str | bytes], ...],
        about: object,
    ) -> None:
        """One line. Of the headers it has the names only, for any value may be a secret."""
        if not logger.isEnabledFor(self._level):
            return
        took = time.perf_counter() - started
        names = ", ".join(name for name, _ in metadata)
        line = f"{self._target.address} {rpc} {outcome} in {took:.4f} s"
        line += f"; {about}" if about else ""
        line += f"; headers: {names}" if names else ""
        # The server's own text may have line breaks; they would forge a line of ours.
        line = "".join(c if c.isprintable() else " " for c in line)
        logger.log(self._level, "%s", line[:MAX_LINE])


def check_timeout(timeout: object) -> float | None:
    """The deadline in seconds, None for none; InvalidInput for what is neither."""
    if timeout is None:
        return None
    try:
        seconds = float(timeout) if isinstance(timeout, float | Real) else math.nan
    except OverflowError:
        seconds = math.inf
    if math.isnan(seconds):
        # Not shown, because it may be headers in the wrong place.
        kind = type(timeout).__name__
        raise InvalidInput(f"a timeout of type {kind} is neither a number of seconds nor None")
    # Beyond that gRPC's own arithmetic would end the call at once.
    return None if seconds > MAX_TIMEOUT else seconds


def _read(rpc: str, read: Callable[[bytes], T], reply: bytes) -> T:
    try:
        return read(reply)
    except Unreadable as error:
        raise grpc.aio.AioRpcError(
            grpc.StatusCode.INTERNAL,
            grpc.aio.Metadata(),
            grpc.aio.Metadata(),
            details=f"the reply to {rpc} cannot be parsed: {error}",
        ) from error
