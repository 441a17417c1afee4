"""Which inference server it is: asked once for each connection, never guessed."""

import asyncio

import grpc
import pytest

from sidecar.core.checks import SERVER_LIVE
from sidecar.core.target import TORCHSERVE_SERVICE, Server, Target
from sidecar.oip import SERVICE, messages
from sidecar.probes.channel import Connection
from sidecar.probes.identity import Identity, identify
from sidecar.store import Cause, Change
from tests.core.folding import change, initial, saw

UNAVAILABLE, UNIMPLEMENTED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED
REFUSED = "This protocol is restricted, expecting header 'triton-grpc-protocol-triton-access-token'"


class Said(grpc.GenericRpcHandler):
    """A server that says this of itself; each call is counted."""

    def __init__(self, metadata: object, index: object = b"") -> None:
        self.replies = {"ServerMetadata": metadata, "RepositoryIndex": index}
        self.asked: list[str] = []

    def service(self, details):
        rpc = details.method.rpartition("/")[2]
        reply = self.replies.get(rpc)

        async def answer(_, context):
            self.asked.append(rpc)
            if isinstance(reply, tuple):
                await context.abort(*reply)
            return reply

        return None if reply is None else grpc.unary_unary_rpc_method_handler(answer)


async def identified(said: Said, service: str = SERVICE) -> Server | None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((said,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    target = Target(f"127.0.0.1:{port}", service, 2, 1)
    connection = Connection(target)
    try:
        return await identify(connection, target, 2)
    finally:
        await connection.close()
        await server.stop(None)


def metadata(name: str, version: str = "1.2.3") -> bytes:
    return messages.ServerMetadataResponse(name=name, version=version).SerializeToString()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (Said(metadata("kserve", "0.21.0")), Server("kserve", "0.21.0")),
        (Said(metadata("mlserver", "1.7.1")), Server("mlserver", "1.7.1")),
        (Said(metadata("triton", "2.51.0")), Server("triton", "2.51.0")),
        (
            Said(metadata("triton"), (UNAVAILABLE, REFUSED)),
            Server("pytriton", "1.2.3"),
        ),
        (
            Said(metadata("triton"), (UNAVAILABLE, "busy")),
            Server("triton", "1.2.3"),
        ),
        (Said(metadata("OpenVINO Model Server", "2025.1")), Server("openvino", "2025.1")),
        (Said(metadata("mine")), Server("unknown", "1.2.3")),
        (Said(metadata("kserve", "x" * 33)), Server("kserve", "")),
        (Said(metadata("kserve", 'v"}\n')), Server("kserve", "")),
        (Said(metadata("", "")), Server("unknown", "")),
        (Said((UNIMPLEMENTED, "")), Server("unknown", "")),
        (Said((UNAVAILABLE, "")), None),
        (Said(b"\xff\xff"), None),
    ],
)
async def test_a_server_is_known_by_what_it_says(said, expected):
    assert await identified(said) == expected
    # MLServer's index takes up to a second; nobody but Triton is asked for it.
    is_triton = expected is not None and expected.name in ("triton", "pytriton")
    assert said.asked == ["ServerMetadata", "RepositoryIndex"][: 1 + is_triton]


async def test_torchserve_is_known_by_its_service():
    refused = (UNIMPLEMENTED, "")
    assert await identified(Said(refused), TORCHSERVE_SERVICE) == Server("torchserve")


class World:
    """A server whose name is chosen, and what was asked and found."""

    def __init__(self) -> None:
        self.server: Server | None = Server("triton", "1")
        self.asked = 0
        self.found: list[Server] = []
        self.unimplemented = 0
        self.identity = Identity(self.ask, self.found.append, self.note)

    def note(self) -> None:
        self.unimplemented += 1

    async def ask(self) -> Server | None:
        self.asked += 1
        return self.server

    async def see(self, *words: str) -> None:
        for word in words:
            self.identity(change(initial(), saw(SERVER_LIVE, word)))
            for _ in range(5):
                await asyncio.sleep(0)


@pytest.fixture
async def world():
    made = World()
    running = asyncio.create_task(made.identity.run())
    yield made
    running.cancel()
    await asyncio.wait({running})


async def test_it_is_asked_once_a_connection(world):
    await world.see("timeout", "ok", "ok", "timeout", "ok")
    assert (world.asked, world.found) == (1, [Server("triton", "1")])
    await world.see("unreachable", "ok", "ok")
    assert (world.asked, world.found) == (2, [Server("triton", "1")])
    world.server = Server("triton", "2")
    await world.see("unreachable", "ok")
    assert world.found[1:] == [Server("triton", "2")]


async def test_a_server_that_does_not_say_is_asked_again(world):
    world.server = None
    await world.see("ok", "ok")
    assert (world.asked, world.identity.server) == (2, Server())
    world.server = Server("mlserver", "1")
    await world.see("ok", "ok")
    assert (world.asked, world.identity.server) == (3, Server("mlserver", "1"))


async def test_another_server_is_unknown_until_it_is_asked(world):
    await world.see("ok")
    world.identity(Change(Cause.OTHER_SERVER, initial()))
    assert world.identity.server == Server()
    await world.see("ok")
    assert (world.asked, world.identity.server) == (2, Server("triton", "1"))


async def test_a_service_that_is_not_implemented_is_noted_once(world):
    await world.see("unimplemented", "unimplemented")
    assert (world.unimplemented, world.asked) == (1, 0)
