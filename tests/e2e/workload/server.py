"""The inference server of the end-to-end suite, which does what is ordered while it runs.

python server.py     in a container of our image, beside the sidecar

An order is a file in the folder `--orders`:
  unready   its model is not ready as long as the file is there
  hang      it stops to answer, whatever it is asked, and heeds no SIGTERM; the
            file goes, so that the next process in its place works
At SIGTERM it finishes what is in flight. Its last words, for the container's
termination message, are one JSON object: when preStop began (which writes that into
the file `leaving` there), when it was told to stop and ended, and what the sidecar's
/livez said at its start and at its end.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from sidecar.demo import ToyServer
from sidecar.oip import SERVICE, messages

MODEL = "m"
LOOK_SECONDS = 0.1  # between two looks at the orders
IN_FLIGHT_SECONDS = 20  # for what is in flight at the end


class Server(ToyServer):
    """The toy server, whose model can also be run: it takes as long as the request says."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """Those of the toy server, and ModelInfer."""
        infer: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(
            self._infer, request_deserializer=messages.ModelInferRequest.FromString
        )
        return {**super().handlers(), "ModelInfer": infer}

    async def listen(self, address: str) -> grpc.aio.Server:
        """As `start`, but reachable from outside the pod."""
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        handler = grpc.method_handlers_generic_handler(SERVICE, self.handlers())
        server.add_generic_rpc_handlers((handler,))
        server.add_insecure_port(address)
        await server.start()
        return server

    async def _infer(self, request: messages.ModelInferRequest, _: Any) -> bytes:
        await asyncio.sleep(request.parameters["milliseconds"].int64_param / 1000)
        response = messages.ModelInferResponse(model_name=request.model_name, id=request.id)
        response.parameters["server"].string_param = self._name
        return response.SerializeToString()


async def obey(server: Server, orders: Path) -> None:
    """Looks for orders for ever."""
    while True:
        server.models = {MODEL: not (orders / "unready").exists()}
        if (orders / "hang").exists():
            (orders / "hang").unlink()
            say("hangs")
            # The loop stands still. An interrupted sleep goes on, so SIGTERM does nothing.
            time.sleep(1_000_000)  # noqa: ASYNC251
        await asyncio.sleep(LOOK_SECONDS)


async def serve(options: argparse.Namespace) -> dict[str, object]:
    """Serves until SIGTERM; what there is to say at the end."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    leaving = options.orders / "leaving"
    leaving.unlink(missing_ok=True)
    begun: dict[str, object] = {
        "livez_at_start": await asyncio.to_thread(livez, options.health_port)
    }
    say("loads")
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopped.wait(), options.load_seconds)
    if stopped.is_set():
        return begun
    toy = Server(options.name)
    obeying = asyncio.create_task(obey(toy, options.orders))
    server = await toy.listen(f"{options.host}:{options.port}")
    say("serves")
    await stopped.wait()
    told_at = time.time()
    await server.stop(IN_FLIGHT_SECONDS)
    obeying.cancel()
    return {
        **begun,
        "livez_at_end": await asyncio.to_thread(livez, options.health_port),
        "leaving_at": float(leaving.read_text()) if leaving.exists() else None,
        "told_at": told_at,
        "ended_at": time.time(),
    }


def livez(port: int) -> int | str:
    """What the sidecar says of itself: a status, or why there is none."""
    connection = http.client.HTTPConnection("localhost", port, timeout=5)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status
    except OSError as error:
        return type(error).__name__
    finally:
        connection.close()


def say(what: str) -> None:
    """A line of the log."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main() -> None:
    """Runs it by its arguments; their defaults are for the container."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", default=socket.gethostname(), help="by default the pod's")
    parser.add_argument("--host", default="[::]")
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--health-port", type=int, default=9808)
    parser.add_argument("--orders", type=Path, default=Path("/orders"))
    parser.add_argument("--last-words", type=Path, default=Path("/dev/termination-log"))
    parser.add_argument("--load-seconds", type=float, default=0, help="before it listens at all")
    parser.add_argument("--unready", action="store_true", help="begins with this order")
    options = parser.parse_args()
    if options.unready:
        (options.orders / "unready").touch()
    words = json.dumps(asyncio.run(serve(options)))
    options.last_words.write_text(words)
    say(words)


if __name__ == "__main__":
    main()
