"""A small real inference server with configurable replies; for `sidecar demo` and the tests."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from sidecar.demo.inference import INPUTS, Statistics, Tensor, echo, metadata, statistics
from sidecar.oip import SERVICE, messages

Request = TypeVar("Request", bound=Message)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reply with a status other than OK."""

    code: grpc.StatusCode
    details: str = ""


class Silence:
    """No reply until the caller cancels."""


@dataclass(frozen=True, slots=True)
class Late:
    """A reply after this many seconds."""

    seconds: float
    reply: "Reply"


# True and False are the protocol's replies; bytes are sent as they are, valid or not.
Reply = bool | bytes | Refusal | Silence | Late


class ToyServer:
    """A real gRPC server on loopback. Its replies can be changed at any time.

    live, ready:  the replies to ServerLive and ServerReady; `ready` None
                  means ready if all models are.
    models:       the reply for each model, by `name` or `name:version`; for
                  others it is NOT_FOUND.
    inferences:   the reply to an inference, by model; True, which is the default,
                  returns its inputs.
    inputs:       the inputs in the metadata, by model; INPUTS for others.
    statistics:   Triton's counters, by model; other models have none.
    inferring:    the number of inferences in flight, by model.
    asked:        the number of calls, by method.
    metadata:     that of the latest call.
    peers:        the connections on which inferences arrived.
    """

    def __init__(self, models: dict[str, Reply] | None = None, *, service: str = SERVICE) -> None:
        self.live: Reply = True
        self.ready: Reply | None = None
        self.models: dict[str, Reply] = dict(models or {})
        self.inferences: dict[str, Reply] = {}
        self.inputs: dict[str, Sequence[Tensor]] = {}
        self.statistics: dict[str, Statistics] = {}
        self.inferring: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.metadata: dict[str, str | bytes] = {}
        self.peers: set[str] = set()
        self.port = 0
        self._service = service
        self._server: grpc.aio.Server | None = None

    async def start(
        self,
        port: int = 0,
        creds: grpc.ServerCredentials | None = None,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        """Listen on this port of 127.0.0.1, 0 for any free one; `port` is then the actual one.

        `options` are gRPC's, for the server.
        """
        # Without the first option a second server could share the port.
        own = (("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1))
        server = grpc.aio.server(options=[*own, *options])
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(self._service, self.handlers()),)
        )
        address = f"127.0.0.1:{port}"
        self.port = (
            server.add_insecure_port(address)
            if creds is None
            else server.add_secure_port(address, creds)
        )
        await server.start()
        self._server = server

    def handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """The handler of each call, by name."""
        return {
            "ServerLive": self._handler(
                "ServerLive",
                messages.ServerLiveRequest,
                lambda _: self.live,
                lambda value, _: messages.ServerLiveResponse(live=value),
            ),
            "ServerReady": self._handler(
                "ServerReady",
                messages.ServerReadyRequest,
                lambda _: self._server_ready(),
                lambda value, _: messages.ServerReadyResponse(ready=value),
            ),
            "ModelReady": self._handler(
                "ModelReady",
                messages.ModelReadyRequest,
                self._model_ready,
                lambda value, _: messages.ModelReadyResponse(ready=value),
            ),
            "ModelMetadata": self._handler(
                "ModelMetadata",
                messages.ModelMetadataRequest,
                self._model_ready,
                lambda _, request: metadata(request.name, self.inputs.get(request.name, INPUTS)),
            ),
            "ModelInfer": self._inference_handler(),
            "ModelStatistics": self._handler(
                "ModelStatistics",
                messages.ModelStatisticsRequest,
                lambda request: (
                    request.name in self.statistics
                    or Refusal(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
                ),
                lambda _, request: statistics(request.name, self.statistics[request.name]),
            ),
        }

    async def stop(self) -> None:
        """Close the port and every connection at once."""
        if self._server is not None:
            await self._server.stop(grace=None)
            self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def _server_ready(self) -> Reply:
        if self.ready is not None:
            return self.ready
        return all(reply is True for reply in self.models.values())

    def _model_ready(self, request: messages.ModelReadyRequest) -> Reply:
        name = f"{request.name}:{request.version}" if request.version else request.name
        missing = Refusal(grpc.StatusCode.NOT_FOUND, f"no model is called {name}")
        return self.models.get(name, missing)

    def choose_inference(self, request: messages.ModelInferRequest) -> Reply:
        """Return the reply to an inference."""
        ready = self.models.get(request.model_name)
        if ready is not True:
            return Refusal(grpc.StatusCode.UNAVAILABLE, f"{request.model_name} is not ready")
        return self.inferences.get(request.model_name, True)

    def _handler(
        self,
        rpc: str,
        request_type: type[Request],
        choose: Callable[[Request], Reply],
        wrap: Callable[[bool, Request], Message],
    ) -> "grpc.RpcMethodHandler[Request, bytes]":
        async def handle(
            request: Request, context: "grpc.aio.ServicerContext[Request, bytes]"
        ) -> bytes:
            self.asked[rpc] += 1
            self.metadata = dict(context.invocation_metadata() or ())
            reply = choose(request)
            if isinstance(reply, Late):
                await asyncio.sleep(reply.seconds)
                reply = reply.reply
            if isinstance(reply, Refusal):
                await context.abort(reply.code, reply.details)
            if isinstance(reply, Silence):
                await asyncio.Event().wait()
            if isinstance(reply, bytes):
                return reply
            return wrap(bool(reply), request).SerializeToString()

        return grpc.unary_unary_rpc_method_handler(
            handle, request_deserializer=request_type.FromString
        )

    def _inference_handler(self) -> "grpc.RpcMethodHandler[messages.ModelInferRequest, bytes]":
        """Return a handler that answers inferences, and counts those in flight and ended."""
        handler = self._handler(
            "ModelInfer", messages.ModelInferRequest, self.choose_inference, lambda _, r: echo(r)
        )
        answer: Any = handler.unary_unary

        async def handle(request: messages.ModelInferRequest, context: Any) -> Any:
            model = request.model_name
            counted = self.statistics.get(model, Statistics())
            self.inferring[model] += 1
            self.peers.add(context.peer())
            failures = 1
            try:
                reply = await answer(request, context)
                failures = 0
                return reply
            finally:
                self.inferring[model] -= 1
                counted.executions += 1
                counted.failures += failures

        return grpc.unary_unary_rpc_method_handler(
            handle, request_deserializer=messages.ModelInferRequest.FromString
        )
