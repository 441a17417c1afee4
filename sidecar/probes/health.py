"""The probes of the protocol's three health calls: ServerLive, ServerReady and ModelReady."""

import asyncio

from sidecar.client.health import HealthClient
from sidecar.core.checks import Check
from sidecar.core.reasons import Reason, evidence_of_life
from sidecar.probes.channel import Connection, Found
from sidecar.probes.classify import CONNECT_FAILED

# Without a connection, ServerLive is also called on each address separately, once this fraction
# of the deadline is over or gRPC could not connect.
PATIENCE = 0.25


class ServerReadyProbe:
    """Calls ServerReady."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def ask(self, check: Check, deadline: float) -> Found:
        """What the server answers within so many seconds."""
        headers = self._connection.headers
        return await self._connection.ask(check, lambda c: c.is_server_ready(deadline, headers))


class ModelReadyProbe:
    """Calls ModelReady."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def ask(self, check: Check, deadline: float) -> Found:
        """What the server answers within so many seconds."""
        headers, version = self._connection.headers, check.version
        return await self._connection.ask(
            check,
            lambda c: c.is_model_ready(check.model, deadline, headers, model_version=version),
        )


class ServerLiveProbe:
    """Calls ServerLive; without a connection, also on each address of the server separately."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def ask(self, check: Check, deadline: float) -> Found:
        """What the server answers within so many seconds."""
        if self._connection.client.connected:
            found = await self._ask(check, deadline)
        else:
            found = await self._ask_without_connection(check, deadline)
        await self._connection.note_live(found[0])
        return found

    async def _ask(self, check: Check, seconds: float, client: HealthClient | None = None) -> Found:
        headers = self._connection.headers
        return await self._connection.ask(
            check, lambda c: c.is_server_live(seconds, headers), client
        )

    async def _ask_without_connection(self, check: Check, deadline: float) -> Found:
        """Call the server, and each of its addresses if gRPC cannot connect.

        The result with the strongest evidence of life counts.
        """
        clock = asyncio.get_running_loop().time
        ends = clock() + deadline
        asking = asyncio.ensure_future(self._ask(check, deadline))
        each: asyncio.Future[list[Found]] | None = None
        try:
            await asyncio.wait({asking}, timeout=PATIENCE * deadline)
            if _says_enough(asking):
                return asking.result()
            look_up = ends - PATIENCE * deadline - clock()
            each = asyncio.ensure_future(self._ask_each(check, look_up, ends))
            await asyncio.wait({asking, each}, return_when=asyncio.FIRST_COMPLETED)
            if _says_enough(asking):
                return asking.result()
            answers = [*await each, await asking]
        finally:
            asking.cancel()
            if each is not None:
                each.cancel()
        return max(answers, key=lambda found: evidence_of_life(found[0]))

    async def _ask_each(self, check: Check, look_up: float, ends: float) -> list[Found]:
        """Return the result for each address; none if the name lookup takes too long."""
        try:
            async with asyncio.timeout(look_up):
                clients = await self._connection.by_address()
        except TimeoutError:
            return []
        left = ends - asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(self._ask_once(check, left, c)) for c in clients]
        return [one.result() for one in asked]

    async def _ask_once(self, check: Check, seconds: float, client: HealthClient) -> Found:
        async with client:
            return await self._ask(check, seconds, client)


def _says_enough(asking: "asyncio.Future[Found]") -> bool:
    """Whether there is a result that no other address could improve."""
    if not asking.done():
        return False
    answer, detail = asking.result()
    return answer is not Reason.TIMEOUT and CONNECT_FAILED not in detail
