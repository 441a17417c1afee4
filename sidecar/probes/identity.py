"""Which inference server answers. It is asked once for each connection, never guessed."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Final

import grpc
import grpc.aio

from sidecar.client.description import ServerMetadata
from sidecar.core.checks import SERVER_LIVE
from sidecar.core.reasons import Reason
from sidecar.core.target import TORCHSERVE_SERVICE, Server, Target
from sidecar.probes.channel import Connection
from sidecar.store import Cause, Change

# The names of known servers in ServerMetadata, in lower case.
NAMES: Final = {
    "kserve": "kserve",
    "mlserver": "mlserver",
    "triton": "triton",
    "openvino model server": "openvino",
}
# TorchServe does not implement ServerMetadata.
# PyTriton reports the name triton; it restricts the model repository with this header.
PYTRITON = "triton-grpc-protocol-triton-access-token"

VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,31}")


class Identity:
    """The identity of the server, by the last connection.

    ask:            asks the server; None if it does not answer.
    found:          called with the server when it has changed.
    unimplemented:  called once if the server does not implement the service.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[Server | None]],
        found: Callable[[Server], None],
        unimplemented: Callable[[], None],
    ) -> None:
        self.server = Server()
        self._ask = ask
        self._found = found
        self._unimplemented = unimplemented
        self._is_unimplemented = False
        self._is_known = False
        self._may_ask = asyncio.Event()

    def __call__(self, change: Change) -> None:
        """Observe changes: a server that answers again may be another one."""
        if change.cause is Cause.OTHER_SERVER:
            self._is_known, self._is_unimplemented, self.server = False, False, Server()
        seen = change.observation
        if seen is None or seen.check != SERVER_LIVE:
            return
        if seen.reason is Reason.UNREACHABLE:
            self._is_known = False
        elif seen.reason is Reason.OK and not self._is_known:
            self._may_ask.set()
        elif seen.reason is Reason.UNIMPLEMENTED and not self._is_unimplemented:
            self._is_unimplemented = True
            self._unimplemented()

    async def run(self) -> None:
        """Ask whenever a server begins to answer, until cancelled."""
        while True:
            await self._may_ask.wait()
            self._may_ask.clear()
            server = await self._ask()
            if server is None:
                continue  # try again after the next answer to ServerLive
            self._is_known = True
            if server != self.server:
                self.server = server
                self._found(server)


async def identify(connection: Connection, target: Target, deadline: float) -> Server | None:
    """Return the server's name and version; None if it does not answer.

    An unknown name becomes `unknown`; a version in another format is empty.
    """
    client, headers = connection.client, connection.headers
    try:
        found = await client.server_metadata(deadline, headers)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
            return None
        return Server("torchserve" if target.service == TORCHSERVE_SERVICE else "unknown")
    name, version = _known(found)
    if name == "triton":
        try:
            await client.repository_index(deadline, headers)
        except grpc.aio.AioRpcError as error:
            if PYTRITON in (error.details() or ""):
                name = "pytriton"
    return Server(name, version)


def _known(found: ServerMetadata) -> tuple[str, str]:
    version = found.version if VERSION.fullmatch(found.version) else ""
    return NAMES.get(found.name.strip().lower(), "unknown"), version
