"""The inference server of the end-to-end suite, which does what is ordered while it runs.

python server.py     in a container of our image, beside the sidecar

Its inferences run in a process of its own, worker.py. Without that process, inferences
fail, and the server goes on saying that it is live and ready; it never starts another.

An order is a file in the folder `--orders`:
  unready   its first model is not ready as long as the file is there
  hang      it answers nothing any more and ignores SIGTERM
  crash     it exits, half a second later: whoever gives the order ends with it
The last two files are removed, so that the next process in its place works.

At SIGTERM it finishes what is in flight. At its end it writes one JSON object, the
container's termination message: when it was told to stop and when it ended, and what
the sidecar's /livez said at its start and at its end.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from sidecar.demo.server import ToyServer
from sidecar.oip import SERVICE, messages

WORKER = Path(__file__).with_name("worker.py")
LOOK_SECONDS = 0.1  # between two looks at the orders
CRASH_SECONDS = 0.5
# Of a connection. During preStop each client so goes to another pod. On a connection that is
# still in use at SIGTERM, gRPC may cancel the request that arrives just then: of 12 stops
# with 16 clients it cancelled 3.
AGE_SECONDS = 3
IN_FLIGHT_SECONDS = 20  # for what is in flight at the end


class Worker:
    """The process that runs the inferences."""

    def __init__(self) -> None:
        self._ids = count()
        self._waiting: dict[int, asyncio.Future[None]] = {}

    async def start(self) -> None:
        """Starts the process."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, WORKER, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        self._reading = asyncio.create_task(self._read())

    async def infer(self, milliseconds: int) -> bool:
        """One inference. Returns false when the process is dead."""
        if self._reading.done():
            return False
        number, finished = next(self._ids), asyncio.get_running_loop().create_future()
        self._waiting[number] = finished
        assert self._process.stdin is not None
        self._process.stdin.write(
            json.dumps({"id": number, "milliseconds": milliseconds}).encode() + b"\n"
        )
        try:
            await finished
        except BrokenPipeError:
            return False
        finally:
            del self._waiting[number]
        return True

    async def stop(self) -> None:
        """Kills the process."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            finished = self._waiting.get(int(line))
            if finished and not finished.done():
                finished.set_result(None)
        say("worker ended")
        for finished in self._waiting.values():
            if not finished.done():
                finished.set_exception(BrokenPipeError())


class Server(ToyServer):
    """The toy server, whose models can also be run: each takes as long as the request says."""

    def __init__(self, name: str, worker: Worker) -> None:
        super().__init__()
        self._name = name
        self._worker = worker

    def handlers(self) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
        """Those of the toy server, and ModelInfer."""
        infer: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(
            self._infer, request_deserializer=messages.ModelInferRequest.FromString
        )
        return {**super().handlers(), "ModelInfer": infer}

    async def listen(self, address: str) -> grpc.aio.Server:
        """As `start`, but reachable from outside the pod."""
        server = grpc.aio.server(
            options=[("grpc.so_reuseport", 0), ("grpc.max_connection_age_ms", AGE_SECONDS * 1000)]
        )
        handler = grpc.method_handlers_generic_handler(SERVICE, self.handlers())
        server.add_generic_rpc_handlers((handler,))
        server.add_insecure_port(address)
        await server.start()
        return server

    async def _infer(self, request: messages.ModelInferRequest, context: Any) -> bytes:
        """The first input comes back as the output `y`."""
        if not await self._worker.infer(request.parameters["milliseconds"].int64_param):
            await context.abort(grpc.StatusCode.INTERNAL, "the worker process is dead")
        response = messages.ModelInferResponse(model_name=request.model_name, id=request.id)
        response.parameters["server"].string_param = self._name
        for given in request.inputs[:1]:
            output = response.outputs.add(name="y", datatype=given.datatype, shape=given.shape)
            output.contents.CopyFrom(given.contents)
        response.raw_output_contents.extend(request.raw_input_contents[:1])
        return response.SerializeToString()


async def obey(server: Server, models: list[str], orders: Path) -> None:
    """Fingerprints for orders for ever."""
    while True:
        ready = not (orders / "unready").exists()
        server.models = {name: ready or name != models[0] for name in models}
        if (orders / "crash").exists():
            (orders / "crash").unlink()
            asyncio.get_running_loop().call_later(CRASH_SECONDS, os._exit, 1)
        if (orders / "hang").exists():
            (orders / "hang").unlink()
            say("hangs")
            # The event loop stops. An interrupted sleep goes on, so SIGTERM does nothing.
            time.sleep(1_000_000)  # noqa: ASYNC251
        await asyncio.sleep(LOOK_SECONDS)


async def serve(options: argparse.Namespace) -> dict[str, object]:
    """Serves until SIGTERM; what there is to say at the end."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    begun: dict[str, object] = {
        "livez_at_start": await asyncio.to_thread(livez, options.health_port)
    }
    say("loads")
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stopped.wait(), options.load_seconds)
    if stopped.is_set():
        return begun
    worker = Worker()
    await worker.start()
    toy = Server(options.name, worker)
    names = ["m", *(f"m{number}" for number in range(1, options.models))]
    obeying = asyncio.create_task(obey(toy, names, options.orders))
    server = await toy.listen(f"{options.host}:{options.port}")
    say("serves")
    await stopped.wait()
    told_at = time.time()
    await server.stop(IN_FLIGHT_SECONDS)
    obeying.cancel()
    await worker.stop()
    return {
        **begun,
        "livez_at_end": await asyncio.to_thread(livez, options.health_port),
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
    parser.add_argument("--models", type=int, default=1, help="m, m1, m2 and so on")
    parser.add_argument("--unready", action="store_true", help="begins with this order")
    options = parser.parse_args()
    if options.unready:
        (options.orders / "unready").touch()
    words = json.dumps(asyncio.run(serve(options)))
    options.last_words.write_text(words)
    say(words)


if __name__ == "__main__":
    main()
