"""The toy server as a process of its own, told by lines on standard input what to answer.

Each line is a JSON object: `live`, `ready`, `models` and `inferences` replace the
server's answers, and `tokens` are the bearer tokens that it takes (any if there are none).
A reply is true, false, `silence`, the name of a gRPC status, or an
object: `{"status", "details"}`, `{"hex"}` for bytes, `{"after", "reply"}` for late.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any, Self

import grpc

from sidecar.demo.server import Late, Refusal, Reply, Silence, ToyServer
from sidecar.oip import SERVICE


def to_reply(value: bool | str | dict[str, Any]) -> Reply:
    """The reply that a JSON value stands for."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return Silence() if value == "silence" else Refusal(grpc.StatusCode[value], "as told")
    if "after" in value:
        return Late(value["after"], to_reply(value["reply"]))
    if "hex" in value:
        return bytes.fromhex(value["hex"])
    return Refusal(grpc.StatusCode[value["status"]], value["details"])


def _credentials(made: dict[str, Any]) -> grpc.ServerCredentials | None:
    if "cert" not in made:
        return None
    return grpc.ssl_server_credentials(
        [(Path(made["key"]).read_bytes(), Path(made["cert"]).read_bytes())]
    )


class GuardedServer(ToyServer):
    """A toy server that asks for a bearer token when it has any."""

    tokens: Collection[str] = ()

    def handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """Those of the toy server, each behind the question for the token."""
        return {name: self._guarded(handler) for name, handler in super().handlers().items()}

    def _guarded(
        self, handler: "grpc.RpcMethodHandler[Any, Any]"
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        answering: Any = handler.unary_unary

        async def handle(request: Any, context: "grpc.aio.ServicerContext[Any, Any]") -> bytes:
            given = dict(context.invocation_metadata() or ()).get("authorization")
            if self.tokens and given not in [f"Bearer {token}" for token in self.tokens]:
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no such token")
            answer: bytes = await answering(request, context)
            return answer

        return grpc.unary_unary_rpc_method_handler(
            handle, request_deserializer=handler.request_deserializer
        )


async def serve(port: int, made: dict[str, Any]) -> None:
    """Serves until standard input ends."""
    server = GuardedServer(service=made.get("service", SERVICE))
    await server.start(port, _credentials(made), list(made.get("options", {}).items()))
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        told = json.loads(line)
        server.live = to_reply(told.get("live", True))
        server.ready = to_reply(told["ready"]) if "ready" in told else None
        server.models = {name: to_reply(value) for name, value in told.get("models", {}).items()}
        inferences = told.get("inferences", {})
        server.inferences = {name: to_reply(value) for name, value in inferences.items()}
        server.tokens = told.get("tokens", ())
        sys.stdout.write("told\n")
        sys.stdout.flush()
    await server.stop()


class ToyProcess:
    """Starts and ends that process, always on one port.

    `made` is what a server is made with: `service`, `options` of gRPC, and the
    paths `key` and `cert`. It may be changed between two starts.
    """

    def __init__(self, made: dict[str, Any] | None = None, **told: Any) -> None:
        from tests.support import free_port  # the process itself starts without pytest

        self.port = free_port()
        self.made = made or {}
        self._told = told
        self._popen: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Where it listens when it runs."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it; it answers when this returns."""
        # It is killed in the end: what coverage measured in it would be lost.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "tests.toy", str(self.port), json.dumps(self.made)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.tell(**self._told)

    def tell(self, **told: Any) -> None:
        """Replaces its answers; they are in force when this returns."""
        self._told = told
        assert self._popen is not None
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.write(json.dumps(told) + "\n")
        self._popen.stdin.flush()
        assert self._popen.stdout.readline(), "the toy server has ended"

    def signal(self, signum: signal.Signals) -> None:
        """Sends it a signal."""
        assert self._popen is not None
        self._popen.send_signal(signum)

    def kill(self) -> None:
        """SIGKILL."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.communicate()
            self._popen = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), json.loads(sys.argv[2])))
