"""The client of the end-to-end suite: asks a Service all the time, and counts what is lost.

python load.py URL     in a container of our image, until SIGTERM

Half of its workers keep their connection, as clients do; the others make a new one for each
request and try once only, so that nothing hides a connection to a server that is gone. Each
second, and at the end, it prints one JSON object: what was sent, answered and lost.
"""

import argparse
import asyncio
import contextlib
import json
import random
import signal
import sys
from collections import Counter
from typing import Any

import grpc

from sidecar.client import InferenceGRPCClient, InferInput, InferRequest

WORKERS = 4  # of each kind
LEAST, MOST = 50, 300  # milliseconds that the server is to take
DEADLINE = 15
# Else all connections of a process to one address would be one.
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


class Tally:
    """What became of the requests."""

    def __init__(self) -> None:
        self.sent = 0
        self.servers: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()

    async def ask(self, client: InferenceGRPCClient) -> None:
        """One request, counted."""
        self.sent += 1
        takes = {"milliseconds": random.randint(LEAST, MOST)}
        tensor = InferInput("x", [1], "INT32", [self.sent])
        try:
            response = await client.infer(InferRequest("m", [tensor], parameters=takes))
        except grpc.RpcError as error:
            told: Any = error
            self.lost[f"{told.code().name}: {told.details()}"] += 1
        else:
            self.servers[str((response.parameters or {}).get("server"))] += 1

    def say(self, *, done: bool) -> None:
        """Prints it all."""
        answered = sum(self.servers.values())
        line = {"sent": self.sent, "answered": answered, "lost": self.lost}
        sys.stdout.write(json.dumps({**line, "servers": self.servers, "done": done}) + "\n")
        sys.stdout.flush()


async def keep(url: str, tally: Tally, stopped: asyncio.Event) -> None:
    """Asks over one connection, with the client's own retries."""
    async with InferenceGRPCClient(url, timeout=DEADLINE, channel_args=OWN_CONNECTION) as client:
        while not stopped.is_set():
            await tally.ask(client)


async def renew(url: str, tally: Tally, stopped: asyncio.Event) -> None:
    """Asks over a new connection each time, once."""
    while not stopped.is_set():
        async with InferenceGRPCClient(
            url, timeout=DEADLINE, channel_args=OWN_CONNECTION, retries=1
        ) as client:
            await tally.ask(client)


async def run(url: str) -> None:
    """Asks until SIGTERM, and then until what was sent has been answered."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    tally = Tally()
    workers = [
        asyncio.create_task(work(url, tally, stopped))
        for work in (keep, renew)
        for _ in range(WORKERS)
    ]
    while not stopped.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), 1)
        tally.say(done=False)
    await asyncio.gather(*workers)
    tally.say(done=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("url", help="host:port")
    asyncio.run(run(parser.parse_args().url))
