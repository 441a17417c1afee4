"""Runs any check with the probe of its kind, over a connection that can be replaced."""

from collections.abc import Callable

import grpc.aio

from sidecar.core.checks import Check, Observation
from sidecar.core.target import Server, Target
from sidecar.probes import PROBES
from sidecar.probes.channel import Connection
from sidecar.probes.identity import identify


class Prober:
    """Runs the checks of one server, each with the probe of its kind.

    clock:  monotonic seconds.
    """

    def __init__(self, target: Target, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._target = target
        self._connection = Connection(target)
        self._probes = {kind: make(self._connection) for kind, make in PROBES.items()}

    async def ask(self, check: Check, deadline: float) -> Observation:
        """Run one check once and return its observation within this many seconds."""
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
        """Close the connection; calls in progress still complete."""
        await self._connection.close()


class SwappableProber:
    """Runs checks with a prober that can be replaced; no check is lost at the change."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober
        self._servers = 1

    async def ask(self, check: Check, deadline: float) -> Observation:
        """Run one check with the current prober.

        If the prober is for another server when the result arrives, the check is
        repeated there.
        """
        while True:
            prober, server = self._prober, self._servers
            try:
                observation = await prober.ask(check, deadline)
            except grpc.aio.UsageError:  # it was closed before the call was sent
                if prober is self._prober:
                    raise
                continue
            if server == self._servers:
                return observation

    async def identify(self) -> Server | None:
        """Return which server it is; None if it does not answer or is being replaced."""
        try:
            return await self._prober.identify()
        except grpc.aio.UsageError:  # it has been closed
            return None

    async def wait_changed(self) -> bool:
        """Wait for a change; return whether there is a connection; replaced counts as lost."""
        prober = self._prober
        try:
            return await prober.wait_changed()
        except grpc.aio.UsageError:  # it has been closed
            if prober is self._prober:
                raise
            return False

    async def replace(self, prober: Prober, *, other_server: bool) -> None:
        """Use another prober from now on, and close the previous one when its calls have ended."""
        self._servers += other_server
        before, self._prober = self._prober, prober
        await before.close()

    async def close(self) -> None:
        """Close the current prober."""
        await self._prober.close()
