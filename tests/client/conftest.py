"""A server that echoes what a model is asked, and a client of it."""

import pytest

from sidecar.client import InferenceGRPCClient
from tests.client.echo import EchoServer


@pytest.fixture
async def server():
    async with EchoServer() as server:
        yield server


@pytest.fixture
async def client(server):
    async with InferenceGRPCClient(f"127.0.0.1:{server.port}") as client:
        yield client
