"""What does each part that is off by default cost: while it is off, and while it is on?

Memory and CPU of the daemon with ten models: without any of these parts, with each
of them alone, with canaries and grpc_port together, and of an earlier checkout that
has none of them. And the memory beside a process that only imports the same packages.

    python -m benchmarks.optional [CHECKOUT]
"""

import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import divide, table
from benchmarks.footprint import bare_imports
from benchmarks.processes import cpu, memory
from tests.support import free_port, running_sidecar
from tests.toy import ToyProcess

MODELS = [f"m{n}" for n in range(10)]
BOTH = "canary and grpc_port"
RUNS = 3
SECONDS = 5

# Starts the sidecar of the folder that is its first argument.
OF_A_FOLDER = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from sidecar.cli import main
sys.exit(main())
"""


def cost(url: str, folder: Path, *flags: str) -> tuple[float, float]:
    """MiB of a daemon, and milliseconds of CPU a second; flags turn parts on."""
    program = (sys.executable, "-c", OF_A_FOLDER, str(folder))
    with (
        tempfile.TemporaryDirectory() as made,
        running_sidecar(
            Path(made, "log"),
            f"--server-url={url}",
            f"--models={','.join(MODELS)}",
            *flags,
            program=program,
        ) as daemon,
    ):
        daemon.wait_for("/startupz", 200)  # /readyz waits for what this server does not have
        pid = daemon.process.pid
        before = cpu(pid)
        time.sleep(SECONDS)
        return memory(pid), (cpu(pid) - before) * 1000 / SECONDS


def main(checkout: Path | None) -> None:
    """Prints the figures."""
    here = Path(__file__).parents[1]
    parts: dict[str, tuple[Path, list[str]]] = {
        "off": (here, []),
        "grpc_port": (here, [f"--grpc-port={free_port()}"]),
        "discover": (here, ["--discover=true"]),
        "kubernetes_events": (here, ["--kubernetes-events=true", "--pod-name=a", "--pod-uid=b"]),
        "canary": (here, ["--canary=auto"]),
        BOTH: (here, ["--canary=auto", f"--grpc-port={free_port()}"]),
    }
    if checkout:
        parts["the earlier checkout"] = (checkout, [])
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in parts}
    bare: list[float] = []
    with ToyProcess(models=dict.fromkeys(MODELS, True)) as toy:
        for _ in range(RUNS):
            bare.append(bare_imports()[1])
            for name, (folder, flags) in parts.items():
                figures[name].append(cost(toy.url, folder, *flags))
    shown: dict[str, list[float]] = {}
    for place, what in enumerate(("memory, MiB", "CPU, ms a second")):
        values = {name: [one[place] for one in costs] for name, costs in figures.items()}
        for name, each in values.items():
            shown[f"{what}: {name}"] = each
            if name != "off":
                shown[f"{what}: {name}, to off"] = divide(each, values["off"])
    for name in ("off", BOTH):
        memories = [mib for mib, _ in figures[name]]
        shown[f"memory: {name}, to the bare imports"] = divide(memories, bare)
    print(table(shown))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
