"""The calls of the Open Inference Protocol, asynchronous, over one gRPC channel."""

import logging
from collections.abc import AsyncGenerator
from functools import partial
from types import TracebackType
from typing import Self

import grpc
from google.protobuf.message import Message

from sidecar.client import description, wire
from sidecar.client.channel import ChannelArgs, channel_options, credentials, parse_url, suspicion
from sidecar.client.connection import Connection
from sidecar.client.description import ModelIndex, ModelMetadata, ServerMetadata
from sidecar.client.errors import InvalidInput
from sidecar.client.inference import streamed
from sidecar.client.inference.request import InferRequest, to_bytes
from sidecar.client.inference.response import InferResponse
from sidecar.client.metadata import Headers
from sidecar.client.timeout import USE_CLIENT_DEFAULT, Timeout
from sidecar.oip import SERVICE, messages

# Requests without a field are the same bytes each time.
EMPTY = b""

_read_live = partial(wire.parse, messages.ServerLiveResponse)
_read_ready = partial(wire.parse, messages.ServerReadyResponse)
_read_model_ready = partial(wire.parse, messages.ModelReadyResponse)


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
                        What the server never processed, because it was just
                        closing the connection, gRPC repeats whatever this says;
                        `("grpc.enable_retries", 0)` switches off both.
    grpc_service:       full name of the service; TorchServe's own differs.

    The client may be made outside an event loop and used in several loops, one
    after the other. Every call takes `timeout` in seconds, None for no
    deadline, and `headers` that are sent along. Arguments that cannot be used
    raise InvalidInput before anything is sent; an answer that is not OK raises
    grpc.RpcError (in fact grpc.aio.AioRpcError). A call after close() raises
    grpc.aio.UsageError.

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
        target = parse_url(url, tls=bool(use_ssl) or creds is not None)
        certificate = creds is not None or certificate_chain is not None
        if not (creds is None or isinstance(creds, grpc.ChannelCredentials)):
            raise InvalidInput(f"creds of type {type(creds).__name__} are no ChannelCredentials")
        if creds is None and target.tls:
            creds = credentials(root_certificates, private_key, certificate_chain)
        self._connection = Connection(
            target,
            creds,
            channel_options(target, channel_args, retries),
            service=grpc_service,
            timeout=timeout,
            level=logging.INFO if verbose else logging.DEBUG,
            suspicion=suspicion(tls=target.tls, certificate=certificate),
        )

    async def infer(
        self,
        infer_request: InferRequest | Message,
        timeout: Timeout = USE_CLIENT_DEFAULT,
        headers: Headers | None = None,
    ) -> InferResponse:
        """Runs a model.

        The request is an InferRequest, or a ModelInferRequest message of any
        package. InvalidInput comes before anything is sent when a tensor of it
        cannot be, and after the answer when one of that cannot be read; it
        names the tensor.
        """
        request, read = to_bytes(infer_request), InferResponse.from_grpc
        about = infer_request if isinstance(infer_request, InferRequest) else ""
        return await self._connection.ask("ModelInfer", request, read, timeout, headers, about)

    def infer_stream(
        self,
        request: InferRequest | Message,
        timeout: Timeout = USE_CLIENT_DEFAULT,
        headers: Headers | None = None,
    ) -> AsyncGenerator[InferResponse, None]:
        """Runs a model that answers one request with any number of responses, in their order.

            async for response in client.infer_stream(request, timeout=30):
                print(response.outputs[0].as_string())

        The call is made with the first step; `timeout` is the deadline of the
        whole stream. Leaving the loop, or cancelling the task, cancels the call;
        an iterator in a variable is ended by its `aclose()`. Arguments that
        cannot be used are refused at once.

        An error message in the stream, as Triton sends them, raises
        InferenceError and ends the stream; a status that is not OK raises
        grpc.RpcError; a response that cannot be read InvalidInput. Retries end
        with the first response.

        Triton, OpenVINO Model Server and MLServer have this call, others answer
        UNIMPLEMENTED. Triton's empty final response (the request's parameter
        `triton_enable_empty_final_response`) is left out: the end of the
        iteration says the same.
        """
        data = to_bytes(request)
        read = partial(streamed.read, model_name=getattr(request, "model_name", ""))
        about = request if isinstance(request, InferRequest) else ""
        return self._connection.stream("ModelStreamInfer", data, read, timeout, headers, about)

    async def is_server_live(
        self, timeout: Timeout = USE_CLIENT_DEFAULT, headers: Headers | None = None
    ) -> bool:
        """Whether the server says that it is live."""
        reply = await self._connection.ask("ServerLive", EMPTY, _read_live, timeout, headers)
        return reply.live

    async def is_server_ready(
        self, timeout: Timeout = USE_CLIENT_DEFAULT, headers: Headers | None = None
    ) -> bool:
        """Whether the server says that it is ready; servers differ in what they mean by it."""
        reply = await self._connection.ask("ServerReady", EMPTY, _read_ready, timeout, headers)
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
        request = wire.build(messages.ModelReadyRequest, name=model_name, version=model_version)
        data = request.SerializeToString()
        reply = await self._connection.ask("ModelReady", data, _read_model_ready, timeout, headers)
        return reply.ready

    async def server_metadata(
        self, timeout: Timeout = USE_CLIENT_DEFAULT, headers: Headers | None = None
    ) -> ServerMetadata:
        """The server's name, version and extensions. TorchServe has this call not implemented."""
        read = description.server_metadata
        return await self._connection.ask("ServerMetadata", EMPTY, read, timeout, headers)

    async def model_metadata(
        self,
        model_name: str,
        model_version: str = "",
        timeout: Timeout = USE_CLIENT_DEFAULT,
        headers: Headers | None = None,
    ) -> ModelMetadata:
        """The model's versions, framework and tensors; without a version the server chooses."""
        request = wire.build(messages.ModelMetadataRequest, name=model_name, version=model_version)
        data, read = request.SerializeToString(), description.model_metadata
        return await self._connection.ask("ModelMetadata", data, read, timeout, headers)

    async def repository_index(
        self,
        timeout: Timeout = USE_CLIENT_DEFAULT,
        headers: Headers | None = None,
        *,
        ready: bool = False,
    ) -> tuple[ModelIndex, ...]:
        """The models in the server's repository; with `ready` only those that are.

        Triton and MLServer have this call, the others answer UNIMPLEMENTED. It
        is no substitute for `is_model_ready`: polled hard, it can stall Triton.
        """
        request = messages.RepositoryIndexRequest(ready=ready)
        data, read = request.SerializeToString(), description.repository_index
        return await self._connection.ask("RepositoryIndex", data, read, timeout, headers)

    @property
    def connected(self) -> bool:
        """Whether a connection is established now."""
        return self._connection.connected

    async def wait_changed(self) -> bool:
        """Returns when the connection is established, with True, or lost, with False.

        It connects nothing by itself. What changes between two waits is told
        by the second one.
        """
        return await self._connection.wait_changed()

    async def reconnect(self) -> None:
        """Lets go of the channel; the next call opens another. Calls under way are cancelled.

        For a connection whose path was cut without a word: it looks alive to
        gRPC until keep-alive or TCP gives up, minutes later. With
        `("grpc.use_local_subchannel_pool", 1)` the new channel shares nothing
        with the old one, a connection or a back-off.
        """
        await self._connection.reconnect()

    async def close(self, grace: float | None = None) -> None:
        """Closes the channel; a second close does nothing.

        Calls under way get so many seconds to end, and without them are cancelled.
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
