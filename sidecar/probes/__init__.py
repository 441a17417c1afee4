"""The probes: how each kind of check is carried out.

health.py     ServerLive, ServerReady, ModelReady
inference.py  canaries, which are sent outside the rounds
progress.py   the counters of models from the server's metrics page
channel.py    the channel options for probing, and the connection that all probes share
addresses.py  the addresses of the server, if its name has several
classify.py   maps a gRPC status and its text to a reason
prober.py     runs any check with the probe of its kind

To add a kind of check, write its probe and add it to PROBES.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from sidecar.core.checks import MODEL, SERVER_LIVE, SERVER_READY, Check
from sidecar.probes.channel import Connection, Found
from sidecar.probes.health import ModelReadyProbe, ServerLiveProbe, ServerReadyProbe


class Probe(Protocol):
    """Runs the checks of one kind over the connection that it was created with."""

    async def ask(self, check: Check, deadline: float) -> Found:
        """Return the reason and its text within this many seconds.

        A failing server is a result. Any exception is a bug and ends the daemon.
        """
        ...


# By kind of check.
PROBES: Mapping[str, Callable[[Connection], Probe]] = {
    SERVER_LIVE.kind: ServerLiveProbe,
    SERVER_READY.kind: ServerReadyProbe,
    MODEL: ModelReadyProbe,
}
