"""How each kind of check is asked.

health.py     ServerLive, ServerReady, ModelReady
inference.py  the canaries, which are sent beside the rounds
progress.py   the counters of a model on its server's metrics page
channel.py    the channel fit for probing, and the connection that the probes share
addresses.py  the addresses of the server, where one name stands for several
classify.py   from a gRPC status and its text to a reason
prober.py     asks any check through the probe of its kind

To add a kind of check, write its probe and enter it in PROBES.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from sidecar.core.checks import MODEL, SERVER_LIVE, SERVER_READY, Check
from sidecar.probes.channel import Connection, Found
from sidecar.probes.health import ModelReadyProbe, ServerLiveProbe, ServerReadyProbe


class Probe(Protocol):
    """Asks the checks of one kind, over the connection that it was made with."""

    async def ask(self, check: Check, deadline: float) -> Found:
        """The reason and the text behind it, within so many seconds.

        A server that fails is an answer; what is raised ends the daemon as a bug.
        """
        ...


# By the kind of the check.
PROBES: Mapping[str, Callable[[Connection], Probe]] = {
    SERVER_LIVE.kind: ServerLiveProbe,
    SERVER_READY.kind: ServerReadyProbe,
    MODEL: ModelReadyProbe,
}
