"""What is added in one place is seen in all others: a kind of check, and an output."""

import asyncio
import sys

from sidecar.core.checks import SERVER_LIVE
from sidecar.demo.server import ToyServer
from sidecar.store import Cause, Change, HealthStore
from tests.core.folding import all_ok, initial, saw
from tests.support import running_sidecar

# The command with one more kind of check: its probe, its entry in the registry, its setting.
WITH_ONE_MORE = """
import asyncio
import sys
from sidecar import probes
from sidecar.cli import main
from sidecar.config import Settings
from sidecar.core.checks import Check

class Added:
    def __init__(self, connection):
        self._connection = connection

    async def ask(self, check, deadline):
        return await self._connection.ask(check, lambda client: client.is_server_ready(deadline))

probes.PROBES["added"] = Added
others = Settings.checks.fget
Settings.checks = property(lambda settings: (*others(settings), Check("added", "Added", "x")))
sys.exit(main())
"""


async def test_a_kind_of_check_that_is_added_is_seen_everywhere(tmp_path):
    async with ToyServer({"a": True}) as server:
        program = (sys.executable, "-c", WITH_ONE_MORE)
        url = f"--server-url=127.0.0.1:{server.port}"
        with running_sidecar(tmp_path / "log", url, "--models=a", program=program) as sidecar:
            await asyncio.to_thread(sidecar.wait_for, "/readyz", 200)
            verbose, metrics, document = [
                (await asyncio.to_thread(sidecar.get, path)).text
                for path in ("/readyz?verbose", "/metrics", "/status")
            ]
            server.ready = False
            failing = await asyncio.to_thread(sidecar.wait_for, "/readyz", 503)
    assert "[+]added:x ok" in verbose
    assert 'inference_polls_total{rpc="Added"}' in metrics
    success = 'inference_last_success_timestamp_seconds{model="x",rpc="Added",version=""}'
    assert success in metrics
    assert '"name": "added:x", "rpc": "Added", "model": "x"' in document
    assert "[-]added:x failed: not_ready" in failing.text


class Counts:
    """An output that is added: it counts the changes by their causes, and what moved."""

    def __init__(self) -> None:
        self.causes: list[Cause] = []
        self.moved: list[str] = []

    def __call__(self, change: Change) -> None:
        self.causes.append(change.cause)
        self.moved += [f"{t.check.name} {t.probe} {t.after}" for t in change.transitions]


def test_an_output_that_is_added_is_notified_of_every_change():
    counts = Counts()
    store = HealthStore(all_ok(initial()), [counts])
    store.record(saw(SERVER_LIVE, "denied"))
    store.reload(initial(), other_server=False)
    store.reload(initial(), other_server=True)
    store.drain()
    assert counts.causes == ["result", "reload", "other_server", "drain"]
    assert counts.moved == ["server-live readiness NOT_SERVING"]
