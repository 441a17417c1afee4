"""The server that others are measured against, as a process; it costs all of them the same.

It answers a request of a size that it has seen before with what it answered then, and a request of
a stream with that a thousand times.

    python -m benchmarks.echo      (prints its port; ends with standard input)
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from tests.client.echo import EchoServer, echo, serve, wrapped

STREAMED = 1000  # responses to each request of a stream


class Recorded(EchoServer):
    """The echo, computed once for each size, and yes to every question after health."""

    def handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """Bytes for bytes, for the calls that are measured."""
        known: dict[int, bytes] = {}

        async def infer(request: bytes, _: object) -> bytes:
            if len(request) not in known:
                known[len(request)] = echo(request)
            return known[len(request)]

        async def stream(requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
            async for request in requests:
                response = wrapped(await infer(request, context))
                for _ in range(STREAMED):
                    yield response

        async def ready(_: bytes, __: object) -> bytes:
            return b"\x08\x01"

        answers: dict[str, Callable[..., Any]] = {"ModelInfer": infer}
        answers |= dict.fromkeys(("ServerLive", "ServerReady", "ModelReady"), ready)
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            rpc: grpc.unary_unary_rpc_method_handler(a) for rpc, a in answers.items()
        }
        return handlers | {"ModelStreamInfer": grpc.stream_stream_rpc_method_handler(stream)}


if __name__ == "__main__":
    asyncio.run(serve(Recorded()))
