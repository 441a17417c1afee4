"""Real inference servers as processes, with models whose states are chosen from outside."""

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from sidecar.core.target import Server
from sidecar.oip import SERVICE
from tests.interop.environments import KSERVE, MLSERVER, Environment
from tests.support import free_port, http_get, wait_until

SCRIPTS = Path(__file__).parent / "servers"
# What is in the command line of a child that Python's multiprocessing has started.
SPAWNED = "multiprocessing.spawn import spawn_main"


@dataclass(frozen=True)
class Words:
    """What the sidecar makes of a server's answers; what most servers come to is the default."""

    loading: str = "not_ready"  # the model, and ServerReady meanwhile
    server_loading: str = "ok"
    failed: str = "not_ready"  # a load, and ServerReady from then on
    server_failed: str = "ok"
    missing: str = "model_not_found"  # a model that is unknown, or unloaded
    version_1: str = "ok"
    version_99: str = "model_not_found"
    version_abc: str = "model_not_found"
    exiting: str = "unreachable"


def _free_descriptor(pid: int) -> int:
    """The lowest number that is not an open file descriptor of this process."""
    used = {int(entry.name) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    return next(number for number in range(len(used) + 1) if number not in used)


class InferenceServer(ABC):
    """One server over a folder of models; its port stays the same when it is started again."""

    environment: ClassVar[Environment]
    grpc_service: ClassVar[str] = SERVICE
    words: ClassVar[Words]
    identity: ClassVar[Server]
    # What ModelReady comes to for a model that it does not have: an answer or a status.
    missing_model: ClassVar[bool | str]
    # What is in the command lines of the processes that compute; nothing where it computes itself.
    worker: ClassVar[tuple[str, ...]] = ()

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._http_port = free_port()
        self._folder = folder
        self._models = folder / "models"
        self._models.mkdir()
        self._log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _command(self) -> list[str]:
        """What starts it."""

    def _variables(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(SCRIPTS)}

    @property
    def log(self) -> str:
        """Everything that it has written so far."""
        return self._log.read_text()

    def add(self, model: str) -> Path:
        """The folder of a new model, which the server finds when it starts."""
        folder = self._models / model
        folder.mkdir()
        return folder

    def load(self, model: str) -> None:
        """Ends the loading of a model."""
        (self._models / model / "loaded").touch()

    def fail(self, model: str) -> None:
        """Ends the loading of a model with an error, and waits until the server has met it."""
        (self._models / model / "failed").touch()
        wait_until(lambda: f"{model} was told to fail" in self.log, within=20)

    def unload(self, model: str) -> None:
        """Has the server take back a model."""
        self._tell("POST", f"/v2/repository/models/{model}/unload")

    def set_ready(self, model: str, ready: bool) -> None:
        """Says whether a model that is loaded is ready too, where a server asks its models."""
        unready = self._models / model / "unready"
        if ready:
            unready.unlink()
        else:
            unready.touch()

    def break_inference(self, model: str, how: str) -> None:
        """From now on inferences `raise`, or `hang`, while everything says that all is well."""
        (self._models / model / how).touch()

    def slow_inference(self, model: str, seconds: float) -> None:
        """From now on each inference takes so long, and another one waits for it."""
        (self._models / model / "block").write_text(str(seconds))

    def mend_inference(self, model: str, how: str) -> None:
        """They work again."""
        (self._models / model / how).unlink()

    def processes(self) -> list[int]:
        """All its processes, by their ids."""
        assert self._process is not None
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(int(entry.name)) == self._process.pid:
                    found.append(int(entry.name))
        return sorted(found)

    def workers(self, model: str, words: tuple[str, ...] | None = None) -> list[int]:
        """The processes that compute for a model, or with such a command line, by their ids."""
        words = tuple(word.format(model=model) for word in words or self.worker)
        found = []
        for pid in self.processes():
            command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
            if words and all(word in command for word in words):
                found.append(pid)
        return found

    def exhaust_descriptors(self) -> None:
        """Leave its processes no file descriptor for a new connection.

        A connection that is open only now, such as a canary's, would leave its number to the
        next one. So the limit of each process is the lowest number that was free for a while.
        """
        lowest: dict[int, int] = {}
        end = time.monotonic() + 1
        while time.monotonic() < end:
            for pid in self.processes():
                lowest[pid] = min(_free_descriptor(pid), lowest.get(pid, sys.maxsize))
            time.sleep(0.01)
        for pid, free in lowest.items():
            _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (free, hard))

    def restore_descriptors(self) -> None:
        """Takes the limit away."""
        for pid in self.processes():
            _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))

    def restart(self) -> None:
        """As the kubelet does it."""
        self.kill()
        self.start()

    def start(self, *, loaded: Iterable[str] = (), loading: Iterable[str] = ()) -> None:
        """Starts it with the models that it has and these, and waits until its ports are open."""
        for model in (*loaded, *loading):
            self.add(model)
        for model in loaded:
            self.load(model)
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                self._command(),
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=self._variables(),
                # Its process group is then its own, children included.
                start_new_session=True,
            )
        self._process = process
        ports = (self.port, self._http_port)
        wait_until(lambda: all(map(listens, ports)) or process.poll() is not None, within=60)
        assert process.poll() is None, self.log

    def signal(self, signum: signal.Signals) -> None:
        """Sends a signal to it and its children."""
        assert self._process is not None
        os.killpg(self._process.pid, signum)

    def terminate(self) -> None:
        """Asks it to exit as the kubelet does: its first process gets a SIGTERM, no other does."""
        assert self._process is not None
        self._process.terminate()

    def has_exited(self) -> bool:
        """Whether its first process has ended."""
        return self._process is None or self._process.poll() is not None

    def kill(self) -> None:
        """Ends it and its children at once, if it runs."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _tell(self, method: str, path: str, **headers: str) -> None:
        response = http_get(self._http_port, path, method=method, **headers)
        assert response.status == 200, response.text


@contextlib.contextmanager
def running(server: InferenceServer, *loaded: str) -> Iterator[None]:
    """The server with these models, and those that it has."""
    try:
        server.start(loaded=loaded)
        yield
    finally:
        server.kill()


def listens(port: int) -> bool:
    """Whether somebody accepts connections at this port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class KServe(InferenceServer):
    """KServe's ModelServer. It binds all interfaces and cannot be told otherwise."""

    environment = KSERVE
    identity = Server("kserve", KSERVE.version)
    words = Words(version_99="ok", version_abc="ok")
    missing_model = "StatusCode.NOT_FOUND"

    def _command(self) -> list[str]:
        ports = [f"--grpc_port={self.port}", f"--http_port={self._http_port}"]
        script = str(SCRIPTS / "kserve_models.py")
        return [self.environment.program("python"), script, str(self._models), *ports]


class MLServer(InferenceServer):
    """MLServer without workers, so that the states of the models are the server's own."""

    parallel_workers: ClassVar[int] = 0

    environment = MLSERVER
    identity = Server("mlserver", MLSERVER.version)
    words = Words(server_loading="not_ready", failed="unreachable", server_failed="unreachable")
    missing_model = "StatusCode.UNKNOWN"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.metrics_port = free_port()
        settings = {
            "host": "127.0.0.1",
            "grpc_port": self.port,
            "http_port": self._http_port,
            "metrics_port": self.metrics_port,
            "parallel_workers": self.parallel_workers,
        }
        (self._models / "settings.json").write_text(json.dumps(settings))

    def _command(self) -> list[str]:
        return [self.environment.program("mlserver"), "start", str(self._models)]

    def add(self, model: str) -> Path:
        """The folder of a new model, with MLServer's settings for it."""
        return self._add(model, "FolderModel")

    def add_stream(self, model: str) -> Path:
        """The folder of a new model that streams, and is loaded."""
        folder = self._add(model, "StreamModel")
        self.load(model)
        return folder

    def _add(self, model: str, implementation: str) -> Path:
        folder = super().add(model)
        settings = {
            "name": model,
            "implementation": f"mlserver_models.{implementation}",
            "parameters": {"uri": str(folder), "version": "1"},
        }
        (folder / "model-settings.json").write_text(json.dumps(settings))
        return folder


class MLServerWithWorker(MLServer):
    """MLServer with a worker, which is its default."""

    parallel_workers = 1
    worker = (SPAWNED,)


class MLServerWithWorkers(MLServerWithWorker):
    """MLServer with two workers, which take turns."""

    parallel_workers = 2
