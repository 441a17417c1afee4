"""One of the clients that benchmarks/client.py compares, as a process in its own environment.

Reads one JSON object a line, the work with its arguments, and answers with
the seconds that one call took, by the wall and of CPU.

    PYTHONPATH=. python benchmarks/contenders.py CLIENT URL
"""

import asyncio
import json
import os
import sys
import time
from typing import Any

import grpc.aio

from tests.interop.clients import CLIENTS, TENSOR

MODEL = "m"
SERVICE = "/inference.GRPCInferenceService/"
UNLIMITED = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]


class Bare:
    """The limit: gRPC's channel with bytes that are ready to be sent, and nothing read."""

    def __init__(self, url: str) -> None:
        channel = grpc.aio.insecure_channel(url, UNLIMITED)
        self._ready: Any = channel.unary_unary(SERVICE + "ModelReady")
        self._infer: Any = channel.unary_unary(SERVICE + "ModelInfer")
        self._stream: Any = channel.unary_stream(SERVICE + "ModelStreamInfer")
        self._requests: dict[tuple[str, int], bytes] = {}

    async def ready(self, _: str) -> bytes:
        """ModelReady."""
        reply: bytes = await self._ready(b"\x0a\x01m", timeout=60)
        return reply

    async def infer(self, model: str, datatype: str, array: Any) -> bytes:
        """ModelInfer, with bytes that only the first call has to make."""
        reply: bytes = await self._infer(self._request(model, datatype, array), timeout=60)
        return reply

    async def stream(self, model: str, datatype: str, array: Any) -> int:
        """ModelStreamInfer, with such bytes; the number of responses."""
        call = self._stream(self._request(model, datatype, array), timeout=60)
        return len([reply async for reply in call])

    def _request(self, model: str, datatype: str, array: Any) -> bytes:
        key = datatype, len(array)
        if key not in self._requests:
            from sidecar import client

            tensor = client.InferInput(TENSOR, [len(array)], datatype, array)
            self._requests[key] = client.InferRequest(model, [tensor]).to_bytes()
        return self._requests[key]


class Work:
    """What a client can be told to do, `calls` times."""

    def __init__(self, name: str, url: str) -> None:
        self._client: Any = Bare(url) if name == "bare" else CLIENTS[name](url)
        self._plain: Any = None
        self._url = url
        self._arrays: dict[tuple[str, int], Any] = {}
        self._replies: dict[tuple[str, int], bytes] = {}

    async def ready(self, calls: int, in_flight: int) -> None:
        """ModelReady, so many at once."""
        left = iter(range(calls))

        async def ask() -> None:
            for _ in left:
                await self._client.ready(MODEL)

        await asyncio.gather(*(ask() for _ in range(in_flight)))

    async def plain_round(self, calls: int, models: list[str]) -> None:
        """The plain poller's round, with KServe's client."""
        from kserve import InferenceGRPCClient  # type: ignore[import-not-found]

        from benchmarks import plain_poller

        if self._plain is None:
            self._plain = InferenceGRPCClient(self._url)
        for _ in range(calls):
            assert await plain_poller.all_ready(self._plain, models)

    async def infer(self, calls: int, datatype: str, elements: int) -> None:
        """From an array to an array, one after the other."""
        array = self._array(datatype, elements)
        for _ in range(calls):
            await self._client.infer(MODEL, datatype, array)

    async def stream(self, calls: int, datatype: str, elements: int) -> None:
        """From an array to many arrays, one stream after the other."""
        array = self._array(datatype, elements)
        for _ in range(calls):
            assert await self._client.stream(MODEL, datatype, array) > 1

    async def encode(self, calls: int, datatype: str, elements: int) -> None:
        """An array to the bytes of a request."""
        array = self._array(datatype, elements)
        for _ in range(calls):
            self._client.encode(MODEL, datatype, array)

    async def decode(self, calls: int, datatype: str, elements: int) -> None:
        """The bytes of a response, which the first call asks for, to an array."""
        key = datatype, elements
        if key not in self._replies:
            request = self._client.encode(MODEL, datatype, self._array(*key))
            async with grpc.aio.insecure_channel(self._url, UNLIMITED) as channel:
                self._replies[key] = await channel.unary_unary(SERVICE + "ModelInfer")(request)
        for _ in range(calls):
            self._client.decode(self._replies[key])

    def _array(self, datatype: str, elements: int) -> Any:
        import numpy as np

        key = datatype, elements
        if key not in self._arrays:
            self._arrays[key] = (
                np.array([b"element %03d" % (n % 1000) for n in range(elements)], object)
                if datatype == "BYTES"
                else np.arange(elements, dtype="f4")
            )
        return self._arrays[key]


async def main(name: str, url: str) -> None:
    """Does what each line says."""
    work = Work(name, url)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        task = json.loads(line)
        do = getattr(work, task.pop("work"))
        wall, cpu = time.perf_counter(), time.process_time()
        await do(**task)
        duration = time.perf_counter() - wall, time.process_time() - cpu
        print(json.dumps([seconds / task["calls"] for seconds in duration]), flush=True)


if __name__ == "__main__":
    os.environ["GRPC_VERBOSITY"] = "NONE"
    asyncio.run(main(*sys.argv[1:]))
