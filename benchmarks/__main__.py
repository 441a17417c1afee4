"""All benchmarks one after the other, with short settings, and at the top what they ran on.

At the end the table of what they are to reach, and what of it they did.

python -m benchmarks [NAME ...]
"""

import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks import goals

ROOT = Path(__file__).parents[1]

# The short settings; each module's own text has the long ones.
SHORT = {
    "client": ["5"],
    "scale": ["3"],
    "web": ["2"],
    "footprint": ["3"],
    "image": ["5"],
    "optional": [],
    "canary": ["2"],
    "grpc_health": ["50"],
    "reaction": ["--kills", "20", "--freezes", "2", "--outages", "5x3"],
    "fleet": [],
}
LIBRARIES = ("grpcio", "protobuf", "aiohttp", "prometheus-client", "pydantic", "numpy")


def told(*command: str) -> str:
    """What a command prints, in one line."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def heading() -> str:
    """The machine, the versions and the commit."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"- machine: {os.cpu_count()} x {model}, {pages / 1024**3:.0f} GiB, {platform.system()}"
        f" {platform.release()}; load before: {os.getloadavg()[0]:.2f}\n"
        f"- versions: Python {platform.python_version()}, {libraries}\n"
        f"- commit: {told('git', 'describe', '--always', '--dirty', '--abbrev=12')}\n"
    )


def main(names: list[str]) -> int:
    """Runs each as a process of its own; the number of those that failed."""
    unknown = [name for name in names if name not in SHORT]
    if unknown:
        sys.exit(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(SHORT)}")
    print(heading())
    failed = 0
    printed = {}
    for name in names or SHORT:
        began = time.monotonic()
        print(f"## {name}\n", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *SHORT[name]]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            lines = []
            for line in running.stdout:
                print(line, end="", flush=True)
                lines.append(line)
        failed += running.returncode != 0
        printed[name] = goals.read(lines)
        print(f"\n{name} took {time.monotonic() - began:.0f} s\n", flush=True)
    print(goals.report(printed))
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
