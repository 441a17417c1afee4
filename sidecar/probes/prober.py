"""Any check asked through the probe of its kind, over a connection that can be replaced."""

from collections.abc import Callable

import grpc.aio

from sidecar.core.checks import Check, Observation
from sidecar.core.target import Server, Target
from sidecar.probes import PROBES
from sidecar.probes.channel import Connection
from sidecar.probes.identity import identify


class Prober:
    """Asks the checks of one server, each through the probe of its kind.

    clock:  monotonic seconds.
    """

    def __init__(self, target: Target, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._target = target
        self._connection = Connection(target)
        self._probes = {kind: make(self._connection) for kind, make in PROBES.items()}

    async def ask(self, check: Check, deadline: float) -> Observation:
        """Asks one check once, and says what came back within so many seconds."""
        started = self._clock()
        answer, detail = await self._probes[check.kind].ask(check, deadline)
        at = self._clock()
        return Observation(check, answer, at, at - started, detail)

    async def identify(self) -> Server | None:
        """Which server it is; None when it does not answer."""
        return await identify(self._connection, self._target, self._target.timeout)

    async def wait_changed(self) -> bool:
        """Whether the connection is established or lost, when it is; UsageError once closed."""
        return await self._connection.wait_changed()

    async def close(self) -> None:
        """Closes the connection; questions under way still get their answers."""
        await self._connection.close()


class SwappableProber:
    """Asks through one prober after another; no question is lost when they change."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober
        self._servers = 1

    async def ask(self, check: Check, deadline: float) -> Observation:
        """Asks one check, through the prober of this moment.

        When another server is asked by the time the answer is there, it says
        nothing about that one, and the check is asked again.
        """
        while True:
            prober, server = self._prober, self._servers
            try:
                observation = await prober.ask(check, deadline)
            except grpc.aio.UsageError:  # it was closed before the question was sent
                if prober is self._prober:
                    raise
                continue
            if server == self._servers:
                return observation

    async def identify(self) -> Server | None:
        """Which server it is; None when it does not answer, or is being replaced."""
        try:
            return await self._prober.identify()
        except grpc.aio.UsageError:  # it has been closed
            return None

    async def wait_changed(self) -> bool:
        """Whether the connection is established or lost, when it is; replaced counts as lost."""
        prober = self._prober
        try:
            return await prober.wait_changed()
        except grpc.aio.UsageError:  # it has been closed
            if prober is self._prober:
                raise
            return False

    async def replace(self, prober: Prober, *, other_server: bool) -> None:
        """Asks through another from now on, and closes the one before when it has its answers."""
        self._servers += other_server
        before, self._prober = self._prober, prober
        await before.close()

    async def close(self) -> None:
        """Closes the prober of this moment."""
        await self._prober.close()
