"""How fast is a killed server noticed, and how fast is its return?

Kills the toy server with SIGKILL while the daemon polls it at the default
period, again and again, and asks /readyz until it fails. The limit beside it,
in the same kill, is a bare gRPC channel that only waits for its own state.

    python -m benchmarks.reaction [KILLS]
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import grpc
import grpc.aio

from benchmarks.figures import table
from tests.support import Sidecar, running_sidecar
from tests.toy import ToyProcess

DEFAULTS = ("--period-seconds=5", "--timeout-seconds=2", "--recovery-period-seconds=1")


async def seen_by_a_bare_channel(toy: ToyProcess, connected: asyncio.Event) -> float:
    """When a channel that was connected has noticed that it no longer is."""
    async with grpc.aio.insecure_channel(toy.url, [("grpc.use_local_subchannel_pool", 1)]) as bare:
        await bare.channel_ready()
        connected.set()
        await bare.wait_for_state_change(grpc.ChannelConnectivity.READY)
        return time.perf_counter()


def seen_by_readyz(sidecar: Sidecar, status: int) -> float:
    """When /readyz first has this status."""
    while sidecar.get("/readyz").status != status:
        pass
    return time.perf_counter()


async def kill_once(toy: ToyProcess, sidecar: Sidecar) -> tuple[float, float, float]:
    """Seconds from the kill until the channel and /readyz saw it, and from the return to 200."""
    connected = asyncio.Event()
    bare = asyncio.create_task(seen_by_a_bare_channel(toy, connected))
    await connected.wait()
    killed = time.perf_counter()
    toy.kill()
    failed = await asyncio.to_thread(seen_by_readyz, sidecar, 503)
    noticed = await bare
    toy.start()
    started = time.perf_counter()
    passed = await asyncio.to_thread(seen_by_readyz, sidecar, 200)
    return noticed - killed, failed - killed, passed - started


async def main(kills: int) -> None:
    """Prints the figures of so many kills."""
    with (
        tempfile.TemporaryDirectory() as folder,
        ToyProcess(models={"a": True, "b": True, "c": True}) as toy,
        running_sidecar(
            Path(folder, "log"), f"--server-url={toy.url}", "--models=a,b,c", *DEFAULTS
        ) as sidecar,
    ):
        sidecar.wait_for("/readyz", 200)
        figures = [await kill_once(toy, sidecar) for _ in range(kills)]
    bare, failed, passed = zip(*figures, strict=True)
    print(
        table(
            {
                "SIGKILL to /readyz 503, ms": [1000 * s for s in failed],
                "SIGKILL to a bare channel's notice, ms": [1000 * s for s in bare],
                "server back to /readyz 200, ms": [1000 * s for s in passed],
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
