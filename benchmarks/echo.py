"""The server that others are measured against, as a process; it costs all of them the same.

It answers a request of a size that it has seen before with what it answered then.

    python -m benchmarks.echo      (prints its port; ends with standard input)
"""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

from tests.client.echo import EchoServer, echo, serve


class Recorded(EchoServer):
    """The echo, computed once for each size, and yes to every question after health."""

    def handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """Bytes for bytes, for the calls that are measured."""
        known: dict[int, bytes] = {}

        async def infer(request: bytes, _: object) -> bytes:
            if len(request) not in known:
                known[len(request)] = echo(request)
            return known[len(request)]

        async def ready(_: bytes, __: object) -> bytes:
            return b"\x08\x01"

        answers: dict[str, Callable[..., Any]] = {"ModelInfer": infer}
        answers |= dict.fromkeys(("ServerLive", "ServerReady", "ModelReady"), ready)
        return {rpc: grpc.unary_unary_rpc_method_handler(a) for rpc, a in answers.items()}


if __name__ == "__main__":
    asyncio.run(serve(Recorded()))
