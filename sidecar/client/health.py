"""The health calls of the Open Inference Protocol, asynchronous, over one gRPC channel."""

import logging
from functools import partial
from types import TracebackType
from typing import Self

import grpc

from sidecar.client import description, protobuf
from sidecar.client.channel import (
    ChannelArgs,
    Pem,
    channel_options,
    close_hint,
    credentials,
    parse_url,
)
from sidecar.client.connection import Connection
from sidecar.client.description import ModelIndex, ServerMetadata
from sidecar.client.errors import InvalidInput
from sidecar.client.metadata import Headers
from sidecar.client.report import Reporter
from sidecar.client.timeout import USE_CLIENT_DEFAULT, Timeout
from sidecar.oip import SERVICE, messages

# The serialized form of a request without fields.
EMPTY = b""

_read_live = partial(protobuf.parse, messages.ServerLiveResponse)
_read_ready = partial(protobuf.parse, messages.ServerReadyResponse)
_read_model_ready = partial(protobuf.parse, messages.ModelReadyResponse)


class HealthClient:
    """A client for the health calls, and for what a server says of itself.

    InferenceGRPCClient extends it with inference, and with what a server says
    of its models. A program that only needs the calls here can use this class;
    its import does not load the modules for inference.

    The client can be made outside an event loop, and used in several loops one
    after the other. It connects when the first call is made. `async with`
    closes it.

    Every call has two arguments more:

    timeout:  seconds that the call may take, None for no deadline; by default
              the client's own timeout.
    headers:  sent as gRPC metadata: a mapping, or a sequence of (name, value)
              pairs; None for none.

    Every call raises InvalidInput, before anything is sent, if an argument is
    not valid; grpc.RpcError (always a grpc.aio.AioRpcError) if the status is
    not OK; and grpc.aio.UsageError after `close`.

    Source: the Open Inference Protocol's gRPC definition; this project's text
    of it is protos/open_inference.proto.
    """

    def __init__(
        self,
        url: str,
        verbose: bool = False,
        use_ssl: bool = False,
        root_certificates: Pem = None,
        private_key: Pem = None,
        certificate_chain: Pem = None,
        creds: grpc.ChannelCredentials | None = None,
        channel_args: ChannelArgs | None = None,
        timeout: float | None = 60,
        retries: int | None = 3,
        *,
        grpc_service: str = SERVICE,
    ) -> None:
        """Make a client; nothing is connected yet, but the TLS files are read.

        url:                `host:port`, `grpc://`, `grpcs://`, `http://`, `https://`,
                            `dns:///host:port`, `unix:///path`; IPv6 in brackets.
                            The default port is 80, with TLS 443.
        verbose:            log one line for each call at INFO instead of DEBUG.
        use_ssl:            use TLS; the schemes grpcs and https imply it.
        root_certificates:  path of a PEM file, or its content as bytes; None for gRPC's
                            default.
        private_key, certificate_chain:
                            the client's in the same form; both or neither.
        creds:              channel credentials; they replace the four arguments above.
        channel_args:       gRPC channel arguments; they replace the defaults here.
        timeout:            seconds that a call may take; None for no deadline.
        retries:            number of attempts if the status is UNAVAILABLE, at
                            most 5; 0, 1 and None mean one attempt. A
                            `grpc.service_config` in channel_args replaces it.
                            gRPC itself repeats a call that the server did not
                            process because it was closing the connection,
                            whatever `retries` is; with
                            `("grpc.enable_retries", 0)` it does neither.
        grpc_service:       full name of the gRPC service; TorchServe has another one.

        Raises InvalidInput if an argument is not valid or a file cannot be
        read. Warns (UserWarning) if `retries` is more than 5.
        """
        target = parse_url(url, tls=bool(use_ssl) or creds is not None)
        certificate = creds is not None or certificate_chain is not None
        if not (creds is None or isinstance(creds, grpc.ChannelCredentials)):
            raise InvalidInput(f"creds of type {type(creds).__name__} are not ChannelCredentials")
        if creds is None and target.tls:
            creds = credentials(root_certificates, private_key, certificate_chain)
        self._connection = Connection(
            target,
            creds,
            channel_options(target, channel_args, retries),
            service=grpc_service,
            timeout=timeout,
            reporter=Reporter(
                target.address,
                level=logging.INFO if verbose else logging.DEBUG,
                hint=close_hint(tls=target.tls, certificate=certificate),
            ),
        )

    async def is_server_live(
        self, timeout: Timeout = USE_CLIENT_DEFAULT, headers: Headers | None = None
    ) -> bool:
        """Return whether the server reports that it is live (ServerLive)."""
        reply = await self._connection.call("ServerLive", EMPTY, _read_live, timeout, headers)
        return reply.live

    async def is_server_ready(
        self, timeout: Timeout = USE_CLIENT_DEFAULT, headers: Headers | None = None
    ) -> bool:
        """Return whether the server reports that it is ready (ServerReady).

        Servers differ in what this includes: in some it covers the models, in others not.
        """
        reply = await self._connection.call("ServerReady", EMPTY, _read_ready, timeout, headers)
        return reply.ready

    async def is_model_ready(
        self,
        model_name: str,
        timeout: Timeout = USE_CLIENT_DEFAULT,
        headers: Headers | None = None,
        *,
        model_version: str = "",
    ) -> bool:
        """Return whether the server reports that this model is ready (ModelReady).

        model_version:  empty lets the server choose a version.

        For a model that it does not have, Triton returns False; KServe answers
        with the status NOT_FOUND and MLServer with UNKNOWN, which raise
        grpc.RpcError.
        """
        request = protobuf.build(messages.ModelReadyRequest, name=model_name, version=model_version)
        data = request.SerializeToString()
        reply = await self._connection.call("ModelReady", data, _read_model_ready, timeout, headers)
        return reply.ready

    async def server_metadata(
        self, timeout: Timeout = USE_CLIENT_DEFAULT, headers: Headers | None = None
    ) -> ServerMetadata:
        """Return the server's name, version and extensions (ServerMetadata).

        TorchServe does not implement this call.
        """
        read = description.server_metadata
        return await self._connection.call("ServerMetadata", EMPTY, read, timeout, headers)

    async def repository_index(
        self,
        timeout: Timeout = USE_CLIENT_DEFAULT,
        headers: Headers | None = None,
        *,
        ready: bool = False,
    ) -> tuple[ModelIndex, ...]:
        """Return the models in the server's repository (RepositoryIndex).

        ready:  only the models that are ready.

        Triton and MLServer have this call; other servers answer UNIMPLEMENTED.
        Do not poll it in place of `is_model_ready`: frequent calls can stall
        Triton.
        """
        request = messages.RepositoryIndexRequest(ready=ready)
        data, read = request.SerializeToString(), description.repository_index
        return await self._connection.call("RepositoryIndex", data, read, timeout, headers)

    @property
    def connected(self) -> bool:
        """Whether a connection is established now."""
        return self._connection.connected

    async def wait_changed(self) -> bool:
        """Wait until the connection is established, then return True; or lost, then return False.

        It does not connect by itself. A change between two waits is returned
        by the second one.

        Raises grpc.aio.UsageError after `close`.
        """
        return await self._connection.wait_changed()

    async def reconnect(self) -> None:
        """Close the channel and cancel the calls in progress; the next call opens a new channel.

        This is for a connection whose network path was cut without notice: gRPC
        treats it as established until keep-alive or TCP gives up, which takes
        minutes. With `("grpc.use_local_subchannel_pool", 1)` in channel_args the
        new channel shares neither a connection nor a back-off with the old one.
        """
        await self._connection.reconnect()

    async def close(self, grace: float | None = None) -> None:
        """Close the channel; a second close does nothing.

        grace:  seconds that calls in progress get to end; None cancels them now.
        """
        await self._connection.close(grace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
