"""The calls of the Open Inference Protocol, asynchronous, over one gRPC channel."""

import asyncio
import logging
import time
from types import TracebackType
from typing import Any, Final, Protocol, Self, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message

from sidecar.client.channel import (
    ChannelArgs,
    channel_options,
    credentials,
    open_channel,
    parse_url,
)
from sidecar.client.metadata import Headers, to_metadata
from sidecar.oip import SERVICE, messages

logger = logging.getLogger(__name__)

Reply = TypeVar("Reply", bound=Message)


class UseClientDefault:
    """The type of USE_CLIENT_DEFAULT: the timeout that was given to the client."""

    def __repr__(self) -> str:
        return "USE_CLIENT_DEFAULT"


USE_CLIENT_DEFAULT: Final = UseClientDefault()

Timeout = float | None | UseClientDefault


class _Call(Protocol):
    def __call__(self, request: bytes, *, timeout: float | None, metadata: Any) -> Any: ...


class InferenceGRPCClient:
    """A client for any server that speaks the Open Inference Protocol over gRPC.

    url:                `host:port`, `grpc://`, `grpcs://`, `http://`, `https://`,
                        `dns:///host:port`, `unix:///path`; IPv6 in brackets.
                        The port defaults to 80, with TLS to 443.
    verbose:            log one line a call at INFO rather than DEBUG.
    use_ssl:            speak TLS; the schemes grpcs and https do so by themselves.
    root_certificates:  path of a PEM file; None for gRPC's own default.
    private_key, certificate_chain:
                        paths of the client's PEM files, together or not at all.
    creds:              ready-made credentials; they win over the four above.
    channel_args:       gRPC channel arguments; they win over every default here.
    timeout:            seconds that a call may take; None for no deadline.
    retries:            attempts a call gets when the answer is UNAVAILABLE, at
                        most 5; 0, 1 and None mean one attempt. A
                        `grpc.service_config` in channel_args replaces this.
    grpc_service:       full name of the service; TorchServe's own differs.

    The client may be made outside an event loop and used in several loops, one
    after the other. Arguments that cannot be used raise InvalidInput, an
    answer that is not OK raises grpc.RpcError (in fact grpc.aio.AioRpcError).

    Source of the calls: the Open Inference Protocol's gRPC definition, in this
    project's words in protos/open_inference.proto.
    """

    def __init__(
        self,
        url: str,
        verbose: bool = False,
        use_ssl: bool = False,
        root_certificates: str | None = None,
        private_key: str | None = None,
        certificate_chain: str | None = None,
        creds: grpc.ChannelCredentials | None = None,
        channel_args: ChannelArgs | None = None,
        timeout: float | None = 60,
        retries: int | None = 3,
        *,
        grpc_service: str = SERVICE,
    ) -> None:
        self._target = parse_url(url, tls=bool(use_ssl) or creds is not None)
        if creds is None and self._target.tls:
            creds = credentials(root_certificates, private_key, certificate_chain)
        self._creds = creds
        self._options = channel_options(self._target, channel_args, retries)
        self._timeout = timeout
        self._service = grpc_service
        self._level = logging.INFO if verbose else logging.DEBUG
        self._loop: asyncio.AbstractEventLoop | None = None
        self._channel: grpc.aio.Channel | None = None
        self._calls: dict[str, _Call] = {}
        self._closed = False

    async def is_server_live(
        self, timeout: Timeout = USE_CLIENT_DEFAULT, headers: Headers | None = None
    ) -> bool:
        """Whether the server says that it is live.

        `timeout` is in seconds, None for no deadline; `headers` are sent with
        the call.
        """
        request = messages.ServerLiveRequest()
        reply = await self._ask(
            "ServerLive", request, messages.ServerLiveResponse, timeout, headers
        )
        return reply.live

    async def is_server_ready(
        self, timeout: Timeout = USE_CLIENT_DEFAULT, headers: Headers | None = None
    ) -> bool:
        """Whether the server says that it is ready; servers differ in what they mean by it."""
        request = messages.ServerReadyRequest()
        reply = await self._ask(
            "ServerReady", request, messages.ServerReadyResponse, timeout, headers
        )
        return reply.ready

    async def is_model_ready(
        self,
        model_name: str,
        timeout: Timeout = USE_CLIENT_DEFAULT,
        headers: Headers | None = None,
        *,
        model_version: str = "",
    ) -> bool:
        """Whether the server says that this model is ready; without a version the server chooses.

        Of a model that it does not know, Triton says False, KServe answers
        NOT_FOUND and MLServer UNKNOWN; the last two raise grpc.RpcError.
        """
        request = messages.ModelReadyRequest(name=model_name, version=model_version)
        reply = await self._ask(
            "ModelReady", request, messages.ModelReadyResponse, timeout, headers
        )
        return reply.ready

    async def wait_disconnected(self) -> None:
        """Returns when an established connection is lost; connects nothing by itself.

        Each wait is given the state that was last seen. A state read afresh
        could hide a change in between, and then the wait would never end.
        """
        channel = self._open()
        seen = channel.get_state()
        while seen is not grpc.ChannelConnectivity.READY:
            await channel.wait_for_state_change(seen)
            seen = channel.get_state()
        await channel.wait_for_state_change(seen)

    async def close(self) -> None:
        """Closes the channel; calls under way are cancelled. A second close does nothing."""
        self._closed = True
        channel, self._channel = self._channel, None
        if channel is not None and self._loop is asyncio.get_running_loop():
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

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

    async def _ask(
        self,
        rpc: str,
        request: Message,
        reply_type: type[Reply],
        timeout: Timeout,
        headers: Headers | None,
    ) -> Reply:
        deadline = self._timeout if isinstance(timeout, UseClientDefault) else timeout
        metadata = to_metadata(headers)
        channel = self._open()
        call = self._calls.get(rpc)
        if call is None:
            call = self._calls[rpc] = channel.unary_unary(f"/{self._service}/{rpc}")
        started = time.perf_counter()
        try:
            raw = await call(request.SerializeToString(), timeout=deadline, metadata=metadata)
            reply = _parse(rpc, reply_type, raw)
        except grpc.aio.AioRpcError as error:
            self._log(rpc, f"{error.code().name}: {error.details()}", started)
            raise
        self._log(rpc, "OK", started)
        return reply

    def _log(self, rpc: str, outcome: str, started: float) -> None:
        if logger.isEnabledFor(self._level):
            took = time.perf_counter() - started
            logger.log(self._level, "%s %s %s in %.4f s", self._target.address, rpc, outcome, took)


def _parse(rpc: str, reply_type: type[Reply], raw: bytes) -> Reply:
    """The reply; one that cannot be read is INTERNAL, as gRPC's synchronous client has it."""
    try:
        return reply_type.FromString(raw)
    except DecodeError as error:
        raise grpc.aio.AioRpcError(
            grpc.StatusCode.INTERNAL,
            grpc.aio.Metadata(),
            grpc.aio.Metadata(),
            details=f"the reply to {rpc} cannot be parsed: {error}",
        ) from error
