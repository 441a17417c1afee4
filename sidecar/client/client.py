"""The calls of the Open Inference Protocol, asynchronous, over one gRPC channel."""

import logging
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import grpc
from google.protobuf.message import Message

from sidecar.client import description, wire
from sidecar.client.channel import ChannelArgs, channel_options, credentials, parse_url
from sidecar.client.connection import USE_CLIENT_DEFAULT, Connection, Timeout
from sidecar.client.description import ModelIndex, ModelMetadata, ServerMetadata
from sidecar.client.errors import InvalidInput
from sidecar.client.metadata import Headers
from sidecar.client.request import InferRequest
from sidecar.client.response import InferResponse
from sidecar.oip import SERVICE, messages

M = TypeVar("M", bound=Message)

# Requests without a field are the same bytes each time.
EMPTY = b""


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
                        `grpc.service_config` in channel_args replaces this, and
                        `("grpc.enable_retries", 0)` switches it off.
    grpc_service:       full name of the service; TorchServe's own differs.

    The client may be made outside an event loop and used in several loops, one
    after the other. Every call takes `timeout` in seconds, None for no
    deadline, and `headers` that are sent along. Arguments that cannot be used
    raise InvalidInput before anything is sent; an answer that is not OK raises
    grpc.RpcError (in fact grpc.aio.AioRpcError).

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
        if creds is None and target.tls:
            creds = credentials(root_certificates, private_key, certificate_chain)
        self._connection = Connection(
            target,
            creds,
            channel_options(target, channel_args, retries),
            service=grpc_service,
            timeout=timeout,
            level=logging.INFO if verbose else logging.DEBUG,
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
        if isinstance(infer_request, InferRequest):
            request = infer_request.to_bytes()
        elif wire.is_a(messages.ModelInferRequest, infer_request):
            request = infer_request.SerializeToString()
        else:
            given = type(infer_request).__name__
            raise InvalidInput(f"given {given}; allowed: InferRequest, ModelInferRequest message")
        about = infer_request if isinstance(infer_request, InferRequest) else ""
        return await self._connection.ask(
            "ModelInfer", request, InferResponse.from_grpc, timeout, headers, about
        )

    async def is_server_live(
        self, timeout: Timeout = USE_CLIENT_DEFAULT, headers: Headers | None = None
    ) -> bool:
        """Whether the server says that it is live."""
        kind = messages.ServerLiveResponse
        return (await self._ask("ServerLive", EMPTY, kind, timeout, headers)).live

    async def is_server_ready(
        self, timeout: Timeout = USE_CLIENT_DEFAULT, headers: Headers | None = None
    ) -> bool:
        """Whether the server says that it is ready; servers differ in what they mean by it."""
        kind = messages.ServerReadyResponse
        return (await self._ask("ServerReady", EMPTY, kind, timeout, headers)).ready

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
        kind = messages.ModelReadyResponse
        data = request.SerializeToString()
        return (await self._ask("ModelReady", data, kind, timeout, headers)).ready

    async def server_metadata(
        self, timeout: Timeout = USE_CLIENT_DEFAULT, headers: Headers | None = None
    ) -> ServerMetadata:
        """The server's name, version and extensions. TorchServe has this call not implemented."""
        kind = messages.ServerMetadataResponse
        reply = await self._ask("ServerMetadata", EMPTY, kind, timeout, headers)
        return description.server_metadata(reply)

    async def model_metadata(
        self,
        model_name: str,
        model_version: str = "",
        timeout: Timeout = USE_CLIENT_DEFAULT,
        headers: Headers | None = None,
    ) -> ModelMetadata:
        """The model's versions, framework and tensors; without a version the server chooses."""
        request = wire.build(messages.ModelMetadataRequest, name=model_name, version=model_version)
        kind = messages.ModelMetadataResponse
        data = request.SerializeToString()
        reply = await self._ask("ModelMetadata", data, kind, timeout, headers)
        return description.model_metadata(reply)

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
        kind = messages.RepositoryIndexResponse
        data = request.SerializeToString()
        reply = await self._ask("RepositoryIndex", data, kind, timeout, headers)
        return description.repository_index(reply)

    async def wait_disconnected(self) -> None:
        """Returns when an established connection is lost; connects nothing by itself."""
        await self._connection.wait_disconnected()

    async def close(self) -> None:
        """Closes the channel; calls under way are cancelled. A second close does nothing."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _ask(
        self, rpc: str, request: bytes, reply: type[M], timeout: Timeout, headers: Headers | None
    ) -> M:
        read = partial(wire.own, reply)
        return await self._connection.ask(rpc, request, read, timeout, headers)
