"""Real inference servers as processes, with models whose states are chosen from outside."""

import contextlib
import json
import os
import signal
import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from tests.interop.environments import KSERVE, MLSERVER, Environment
from tests.support import free_port, wait_until

SCRIPTS = Path(__file__).parent / "servers"


class InferenceServer(ABC):
    """One server over a folder of models; its port stays the same when it is started again."""

    environment: ClassVar[Environment]
    server_ready_waits_for_models: ClassVar[bool]
    knows_versions: ClassVar[bool]

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._http_port = free_port()
        self._models = folder / "models"
        self._models.mkdir()
        self._log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def _command(self) -> list[str]:
        """What starts it."""

    def add(self, model: str) -> Path:
        """The folder of a new model, which the server finds when it starts."""
        folder = self._models / model
        folder.mkdir()
        return folder

    def load(self, model: str) -> None:
        """Ends the loading of a model."""
        (self._models / model / "loaded").touch()

    def set_ready(self, model: str, ready: bool) -> None:
        """Says whether a model that is loaded is ready too."""
        unready = self._models / model / "unready"
        if ready:
            unready.unlink()
        else:
            unready.touch()

    def start(self, *, loaded: Iterable[str] = (), loading: Iterable[str] = ()) -> None:
        """Starts it with the models that it has and these, and waits until its port is open."""
        for model in (*loaded, *loading):
            self.add(model)
        for model in loaded:
            self.load(model)
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                self._command(),
                stdout=log,
                stderr=log,
                cwd=self._models,
                env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
                # Its process group is then its own, children included.
                start_new_session=True,
            )
        self._process = process
        wait_until(lambda: self._listens() or process.poll() is not None, within=60)
        assert process.poll() is None, self._log.read_text()

    def signal(self, signum: signal.Signals) -> None:
        """Sends a signal to it and its children."""
        assert self._process is not None
        os.killpg(self._process.pid, signum)

    def kill(self) -> None:
        """Ends it and its children at once, if it runs."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class KServe(InferenceServer):
    """KServe's ModelServer. It binds all interfaces and cannot be told otherwise."""

    environment = KSERVE
    server_ready_waits_for_models = False
    knows_versions = False

    def _command(self) -> list[str]:
        ports = [f"--grpc_port={self.port}", f"--http_port={self._http_port}"]
        script = str(SCRIPTS / "kserve_models.py")
        return [self.environment.program("python"), script, str(self._models), *ports]


class MLServer(InferenceServer):
    """MLServer without workers, so that the states of the models are the server's own."""

    environment = MLSERVER
    server_ready_waits_for_models = True
    knows_versions = True

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        settings = {
            "host": "127.0.0.1",
            "grpc_port": self.port,
            "http_port": self._http_port,
            "metrics_port": free_port(),
            "parallel_workers": 0,
        }
        (self._models / "settings.json").write_text(json.dumps(settings))

    def _command(self) -> list[str]:
        return [self.environment.program("mlserver"), "start", str(self._models)]

    def add(self, model: str) -> Path:
        """The folder of a new model, with MLServer's settings for it."""
        folder = super().add(model)
        settings = {
            "name": model,
            "implementation": "mlserver_models.FolderModel",
            "parameters": {"uri": str(folder)},
        }
        (folder / "model-settings.json").write_text(json.dumps(settings))
        return folder
