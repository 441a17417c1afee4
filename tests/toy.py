"""The toy server as a process of its own, told by lines on standard input what to answer.

Each line is a JSON object: `live`, `ready` and `models` replace the server's
answers. A reply is true, false, `silence`, or the name of a gRPC status.
"""

import asyncio
import json
import subprocess
import sys
from typing import Any, Self

import grpc

from sidecar.demo import Refusal, Reply, Silence, ToyServer
from tests.support import free_port


def to_reply(value: bool | str) -> Reply:
    """The reply that a JSON value stands for."""
    if isinstance(value, bool):
        return value
    return Silence() if value == "silence" else Refusal(grpc.StatusCode[value], "as told")


async def serve(port: int) -> None:
    """Serves until standard input ends."""
    server = ToyServer()
    await server.start(port)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        told = json.loads(line)
        server.live = to_reply(told.get("live", True))
        server.ready = to_reply(told["ready"]) if "ready" in told else None
        server.models = {name: to_reply(value) for name, value in told.get("models", {}).items()}
        sys.stdout.write("told\n")
        sys.stdout.flush()
    await server.stop()


class ToyProcess:
    """Starts and ends that process, always on one port."""

    def __init__(self, **told: Any) -> None:
        self.port = free_port()
        self._told = told
        self._popen: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Where it listens when it runs."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it; it answers when this returns."""
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "tests.toy", str(self.port)],
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
    asyncio.run(serve(int(sys.argv[1])))
