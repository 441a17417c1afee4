"""How much CPU does a start take in the image, beside the bare imports in it?

The image is built first, as the tests build it, with podman on a base made by
debootstrap. A start ends with the first answer on /healthz.

    python -m benchmarks.image [RUNS]
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.figures import divide, table
from benchmarks.footprint import MODELS, OF_DAEMON
from benchmarks.processes import cpu, echo_server, seen
from tests.deploy.images import HARDENED, Podman
from tests.support import free_port, wait_until

NAME = "inference-health-sidecar-benchmark"
IMPORTED = f"{OF_DAEMON}; print('imported', flush=True); sys.stdin.read()"


@contextmanager
def container(podman: Podman, *args: str, options: tuple[str, ...] = ()) -> Iterator[int]:
    """The process of a container that is started, and removed in the end."""
    run = ("run", "--detach", "--interactive", f"--name={NAME}", *HARDENED, *options)
    podman(*run, podman.image, *args)
    try:
        yield int(podman("inspect", "--format={{.State.Pid}}", NAME).stdout)
    finally:
        podman("rm", "--force", "--ignore", "--time=0", NAME)


def start(podman: Podman, url: str) -> float:
    """Seconds of CPU from the start to the first answer."""
    port = free_port()
    own = (f"--http-port={port}", "--http-host=127.0.0.1", f"--server-url={url}")
    with container(podman, *own, f"--models={','.join(MODELS)}") as pid:
        asyncio.run(seen(port, "/healthz", None))
        return cpu(pid)


def bare_imports(podman: Podman) -> float:
    """Seconds of CPU until the same packages are imported."""
    with container(podman, "-c", IMPORTED, options=("--entrypoint=python3",)) as pid:
        wait_until(lambda: "imported" in podman("logs", NAME).stdout, within=60)
        return cpu(pid)


def main(runs: int) -> None:
    """Prints the figures."""
    podman = Podman()
    podman.make_image()
    with echo_server() as url:
        pairs = [(start(podman, url), bare_imports(podman)) for _ in range(runs)]
    ours, bare = (list(column) for column in zip(*pairs, strict=True))
    print(
        table(
            {
                "start to the first answer in the image, CPU s": ours,
                "bare imports in the image, CPU s": bare,
                "start in the image, CPU: to the bare imports": divide(ours, bare),
            }
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
