"""The image, built by `make image` on a base that is made here, and podman to run it."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support import clean_environment, missing, require_program

ROOT = Path(__file__).parents[2]
NAME = "inference-health-sidecar-test"
SOURCE = "https://git.example/sidecar"

# What the official image has: Debian's newest with Python 3.13, and no compiled standard library.
SUITE = "trixie"
PACKAGES = "python3,python3-venv"
SURPLUS = ("var/cache/apt/archives/*.deb", "var/lib/apt/lists/*", "usr/lib/python3*/**/__pycache__")

# Works without systemd, with either version of cgroups, and without the right to raise limits.
CONTAINERS_CONF = """\
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{run}/libpod"

[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32000:32000"]
"""
STORAGE_CONF = """\
[storage]
driver = "overlay"
graphroot = "{folder}/storage"
runroot = "{run}/storage"
"""

# As a strict cluster runs it, and stricter: not even a /tmp or a /dev/shm to write to.
HARDENED = (
    "--network=host",
    "--read-only",
    "--read-only-tmpfs=false",
    "--ipc=none",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--memory=64m",
    "--pids-limit=64",
)


class Podman:
    """Podman with images, containers and settings of the tests' own."""

    def __init__(self) -> None:
        for program in ("podman", "runc", "debootstrap", "make"):
            require_program(program)
        if os.geteuid() != 0:
            missing("making a base image needs root")
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self.folder = cache / "inference-health-sidecar" / "containers"
        self.folder.mkdir(parents=True, exist_ok=True)
        # The name may be another checkout's image a moment later; this is the one that was built.
        self.image = ""
        files = {"CONTAINERS_CONF": CONTAINERS_CONF, "CONTAINERS_STORAGE_CONF": STORAGE_CONF}
        self.variables = {name: str(self.folder / f"{name.lower()}.toml") for name in files}
        # Not below the cache: where the path of a socket is too long, the end of each container
        # is only noticed after 20 seconds.
        run = f"/run/sidecar-{_digest(str(self.folder))[:6]}"
        for name, text in files.items():
            Path(self.variables[name]).write_text(text.format(folder=self.folder, run=run))

    def __call__(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs it to its end."""
        return self._run("podman", *args, check=check)

    def run(self, *args: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        """Runs a command of the image to its end."""
        return self("run", "--rm", *HARDENED, *options, self.image, *args, check=False)

    def make_image(self, *more: str) -> str:
        """Builds the image by `make image`, with more options. Returns the name of its base."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # What former builds left; younger ones are the cache of the next.
            self("image", "prune", "--force", "--filter=until=24h")
            base = self._base()
            options = " ".join(("--network=host", *self._secrets(), *more))
            self._run(
                "make", "-C", str(ROOT), "image", "ENGINE=podman", f"IMAGE={NAME}",
                f"BASE={base}", f"SOURCE={SOURCE}", f"IMAGE_OPTIONS={options}",
            )  # fmt: skip
            self.image = self("image", "inspect", "--format={{.Id}}", NAME).stdout.strip()
        return base

    def _base(self) -> str:
        name = f"sidecar-test-base:{_digest(repr((SUITE, PACKAGES, SURPLUS)))[:12]}"
        if self("image", "exists", name, check=False).returncode == 0:
            return name
        tree = self.folder / "base"
        # One that was cut short may still have /proc and /sys mounted.
        remove = ("rm", "-rf", "--one-file-system", str(tree))
        self._run(*remove, check=False)
        self._run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(tree))
        for pattern in SURPLUS:
            for path in tree.glob(pattern):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        archive = self.folder / "base.tar"
        self._run("tar", "-C", str(tree), "-cf", str(archive), ".")
        self("import", str(archive), name)
        archive.unlink()
        self._run(*remove)
        return name

    def _secrets(self) -> list[str]:
        """Pip's settings here that decide whether it reaches its index, for pip in the build."""
        listed = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        pairs = [line.partition("=")[::2] for line in listed.splitlines()]
        values = {name.rpartition(".")[2]: value.strip("'") for name, value in pairs}
        lines = [f"{name} = {values[name]}" for name in ("index-url", "proxy") if name in values]
        secrets = []
        if authorities := values.get("cert"):
            lines.append("cert = /run/secrets/ca.pem")
            secrets.append(f"--secret=id=ca.pem,src={authorities}")
        config = self.folder / "pip.conf"
        config.write_text("\n".join(["[global]", *lines, ""]))
        return [*secrets, f"--secret=id=pip.conf,src={config}"]

    def _run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        # Not the make that runs the tests, with its own idea of what is set.
        environment = clean_environment(**self.variables)
        environment = {k: v for k, v in environment.items() if not k.startswith("MAKE")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if check:
            assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        return done


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
