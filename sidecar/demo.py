"""A toy inference server whose health is chosen; used by `sidecar demo` and by the tests.

`python -m sidecar.demo PORT` is the server alone, for a container of its own.
"""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from sidecar.oip import SERVICE, messages

Request = TypeVar("Request", bound=Message)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is not OK."""

    code: grpc.StatusCode
    details: str = ""


class Silence:
    """No answer until the caller gives up."""


@dataclass(frozen=True, slots=True)
class Late:
    """An answer after so many seconds."""

    seconds: float
    reply: "Reply"


# True and False are the protocol's answers, bytes a reply as it stands, well-formed or not.
Reply = bool | bytes | Refusal | Silence | Late


class ToyServer:
    """A real gRPC server on loopback. Its answers may be changed at any time.

    live, ready:  the answers to ServerLive and ServerReady; `ready` None
                  means ready when all models are.
    models:       the answer for each model, by `name` or `name:version`; one
                  that is not here is NOT_FOUND.
    asked:        how often each call was made.
    metadata:     what came with the latest call.
    """

    def __init__(self, models: dict[str, Reply] | None = None, *, service: str = SERVICE) -> None:
        self.live: Reply = True
        self.ready: Reply | None = None
        self.models: dict[str, Reply] = dict(models or {})
        self.asked: Counter[str] = Counter()
        self.metadata: dict[str, str | bytes] = {}
        self.port = 0
        self._service = service
        self._server: grpc.aio.Server | None = None

    async def start(
        self,
        port: int = 0,
        creds: grpc.ServerCredentials | None = None,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        """Listens on the port of 127.0.0.1, 0 for a free one; `port` then tells which.

        `options` are gRPC's, for the server.
        """
        # Without the first a second server could share a port that is taken.
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
        """What answers each call, by the call's name."""
        return {
            "ServerLive": self._handler(
                "ServerLive",
                messages.ServerLiveRequest,
                lambda _: self.live,
                lambda value: messages.ServerLiveResponse(live=value),
            ),
            "ServerReady": self._handler(
                "ServerReady",
                messages.ServerReadyRequest,
                lambda _: self._server_ready(),
                lambda value: messages.ServerReadyResponse(ready=value),
            ),
            "ModelReady": self._handler(
                "ModelReady",
                messages.ModelReadyRequest,
                self._model_ready,
                lambda value: messages.ModelReadyResponse(ready=value),
            ),
        }

    async def stop(self) -> None:
        """Closes the port and every connection at once."""
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

    def _handler(
        self,
        rpc: str,
        request_type: type[Request],
        choose: Callable[[Request], Reply],
        wrap: Callable[[bool], Message],
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
            return reply if isinstance(reply, bytes) else wrap(bool(reply)).SerializeToString()

        return grpc.unary_unary_rpc_method_handler(
            handle, request_deserializer=request_type.FromString
        )


STEADY, LOADING, FLAKY = "steady", "slow-to-load", "flaky"
MODELS = (STEADY, LOADING, FLAKY)

# The settings that the toy server decides; its port is known once it listens.
OWN: Mapping[str, Any] = {
    "server_url": "127.0.0.1",
    "grpc_service": SERVICE,
    "models": MODELS,
    **dict.fromkeys(("tls_ca_file", "tls_cert_file", "tls_key_file", "tls_server_name")),
}
LOAD_SECONDS = 8
UP_SECONDS, DOWN_SECONDS = 15, 10


async def perform(server: ToyServer) -> NoReturn:
    """The demo's script: one model is ready at once, one loads, one fails now and then."""
    server.ready = True  # as KServe has it, whose ServerReady does not speak for the models
    server.models = {STEADY: True, LOADING: False, FLAKY: True}
    loading = asyncio.get_running_loop().call_later(
        LOAD_SECONDS, server.models.__setitem__, LOADING, True
    )
    try:
        while True:
            await asyncio.sleep(UP_SECONDS)
            server.models[FLAKY] = Refusal(grpc.StatusCode.INTERNAL, "out of memory, for the demo")
            await asyncio.sleep(DOWN_SECONDS)
            server.models[FLAKY] = True
    finally:
        loading.cancel()


def announcement(port: int, drain_seconds: float) -> str:
    """What to try, in plain words."""
    return f"""\
A toy inference server is running, and the sidecar asks it about three models:
  {STEADY:<14} is ready at once
  {LOADING:<14} is ready after {LOAD_SECONDS} seconds
  {FLAKY:<14} works for {UP_SECONDS} seconds, fails for {DOWN_SECONDS}, and so on

In a browser, look at:
  http://localhost:{port}/
      The verdict, why, and every check, kept up to date.

In another terminal, try:
  curl -i 'localhost:{port}/readyz'
      May traffic be sent? 503 until all three are ready.
  curl 'localhost:{port}/readyz?verbose'
      The same, check by check.
  curl 'localhost:{port}/readyz?exclude=model:{FLAKY}'
      The same without the one that fails.
  curl 'localhost:{port}/readyz/model:{FLAKY}'
      That one alone.
  curl 'localhost:{port}/healthz'
      Is the server alive? A failing model does not matter.
  curl 'localhost:{port}/metrics'
      What Prometheus sees.
  curl 'localhost:{port}/status'
      Everything, as JSON.

Each change of a status is logged below. Ctrl-C ends the demo: after {drain_seconds:g} s of
drain, as in production, or at once when it is pressed again.
"""


async def serve_alone(port: int) -> None:
    """The toy server with the demo's script and no sidecar, until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, stopped.set)
    server = ToyServer()
    await server.start(port)
    script = asyncio.create_task(perform(server))
    await stopped.wait()
    script.cancel()
    await server.stop()


if __name__ == "__main__":
    asyncio.run(serve_alone(int(sys.argv[1])))
