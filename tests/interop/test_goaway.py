"""Connections that a real server or proxy ends gracefully (GOAWAY) cost the client no call."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from sidecar.client import InferenceGRPCClient
from tests.interop.proxies import nginx
from tests.interop.tritons import Triton

# The first run installs the server.
pytestmark = pytest.mark.timeout(900)

CALLS, AT_ONCE = 8000, 16
REQUESTS_A_CONNECTION = 100


@contextmanager
def running_triton(folder: Path, *flags: str) -> Iterator[int]:
    """Triton's port."""
    folder.mkdir()
    server = Triton(folder, *flags)
    try:
        server.start()
        yield server.port
    finally:
        server.kill()


async def outcomes(port: int, retries: int | None) -> tuple[Counter[str], int]:
    """What so many calls come to, and how many connections they took."""
    found: Counter[str] = Counter()
    connections = 0
    left = iter(range(CALLS))
    async with InferenceGRPCClient(f"127.0.0.1:{port}", timeout=20, retries=retries) as client:

        async def ask() -> None:
            for _ in left:
                try:
                    found[str(await client.is_server_live())] += 1
                except grpc.aio.AioRpcError as error:
                    found[f"{error.code().name}: {error.details()}"] += 1

        async def count() -> None:
            nonlocal connections
            while True:
                connections += await client.wait_changed()

        counting = asyncio.create_task(count())
        await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
        counting.cancel()
    return found, connections


@pytest.mark.parametrize("retries", [0, None, 3])
def test_no_call_is_lost_when_triton_ends_old_connections(tmp_path, retries):
    age = ("--grpc-max-connection-age=50", "--grpc-max-connection-age-grace=2000")
    with running_triton(tmp_path / "triton", *age) as port:
        found, connections = asyncio.run(outcomes(port, retries))
    assert found == {"True": CALLS}
    assert connections > 1


@pytest.mark.parametrize("retries", [0, None, 3])
def test_no_call_is_lost_when_nginx_ends_used_up_connections(tmp_path, retries):
    with running_triton(tmp_path / "triton") as upstream:
        with nginx(tmp_path, upstream, REQUESTS_A_CONNECTION) as port:
            found, connections = asyncio.run(outcomes(port, retries))
    assert found == {"True": CALLS}
    assert connections > CALLS / REQUESTS_A_CONNECTION / 2
