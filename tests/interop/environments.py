"""A virtual environment for each foreign package: their pins clash with each other and ours."""

import fcntl
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Environment:
    """A release of a package in a virtual environment of its own, which outlives the tests."""

    package: str
    version: str
    extra: str = ""
    pins: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The release: `kserve-0.21.0`."""
        return f"{self.package}-{self.version}"

    def program(self, name: str) -> str:
        """The path of one of the environment's programs; installs first what is missing."""
        return str(self.folder() / "bin" / name)

    def folder(self) -> Path:
        """The environment, with what was missing installed."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = cache / "inference-health-sidecar" / "venvs"
        folder.mkdir(parents=True, exist_ok=True)
        minor = f"py{sys.version_info.major}.{sys.version_info.minor}"
        venv = folder / f"{self.name}-{minor}"
        requirements = (f"{self.package}{self.extra}=={self.version}", *self.pins)
        # Written last, so that an installation that was cut short does not count.
        complete = venv / ".complete"
        # Beside the environment, because making it anew empties its folder.
        with (folder / f"{venv.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (complete.exists() and complete.read_text() == repr(requirements)):
                _run(sys.executable, "-m", "venv", "--clear", str(venv))
                pip = (str(venv / "bin" / "pip"), "--quiet", "--disable-pip-version-check")
                _run(*pip, "install", *requirements)
                complete.write_text(repr(requirements))
        return venv


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


KSERVE = Environment("kserve", "0.21.0")
# With a newer uvloop MLServer's workers crash.
MLSERVER = Environment("mlserver", "1.7.1", pins=("uvloop<0.22",))
# Its wheel carries the whole server.
TRITON = Environment("nvidia-pytriton", "0.7.0")
# It says nothing of what it needs. PyTorch it only imports, so a stand-in does; see
# servers/torchserve.
TORCHSERVE = Environment("torchserve", "0.12.0", pins=("psutil", "pyyaml"))
TRITONCLIENT = Environment("tritonclient", "2.73.0", extra="[grpc]")
