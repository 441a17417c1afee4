"""Real inference servers as processes, with models whose states are chosen from outside."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from tests.interop.environments import KSERVE, MLSERVER, TRITON, Environment
from tests.support import free_port, wait_until

SCRIPTS = Path(__file__).parent / "servers"


class InferenceServer(ABC):
    """One server over a folder of models; its port stays the same when it is started again."""

    environment: ClassVar[Environment]
    server_ready_waits_for_models: ClassVar[bool]
    knows_versions: ClassVar[bool]
    # What ModelReady comes to for a model that it does not have: an answer or a status.
    missing_model: ClassVar[bool | str]

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

    def _variables(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(SCRIPTS)}

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
                env=self._variables(),
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
    missing_model = "StatusCode.NOT_FOUND"

    def _command(self) -> list[str]:
        ports = [f"--grpc_port={self.port}", f"--http_port={self._http_port}"]
        script = str(SCRIPTS / "kserve_models.py")
        return [self.environment.program("python"), script, str(self._models), *ports]


class MLServer(InferenceServer):
    """MLServer without workers, so that the states of the models are the server's own."""

    environment = MLSERVER
    server_ready_waits_for_models = True
    knows_versions = True
    missing_model = "StatusCode.UNKNOWN"

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


class Triton(InferenceServer):
    """Triton, from the wheel that carries it. A model takes the datatype that it is named by."""

    environment = TRITON
    server_ready_waits_for_models = True
    knows_versions = True
    missing_model = False

    def __init__(self, folder: Path, *flags: str) -> None:
        super().__init__(folder)
        self._flags = flags
        self._home = folder / "triton"
        minor = f"{sys.version_info.major}.{sys.version_info.minor}"
        site = self.environment.folder() / "lib" / f"python{minor}" / "site-packages"
        self._libraries = site / "nvidia_pytriton.libs"
        wheel = site / "pytriton" / "tritonserver"
        self._program = wheel / "bin" / "tritonserver"
        for part in ("backends", "caches"):
            shutil.copytree(wheel / part, self._home / part)
        stub = self._home / "backends" / "python" / "triton_python_backend_stub"
        shutil.copy(wheel / "python_backend_stubs" / minor / stub.name, stub)
        for program in (self._program, stub):
            program.chmod(0o755)

    def _command(self) -> list[str]:
        return [
            str(self._program),
            f"--model-repository={self._models}",
            f"--backend-directory={self._home / 'backends'}",
            f"--cache-directory={self._home / 'caches'}",
            "--http-address=127.0.0.1",
            f"--http-port={self._http_port}",
            "--grpc-address=127.0.0.1",
            f"--grpc-port={self.port}",
            "--allow-metrics=false",
            "--exit-on-error=false",
            *self._flags,
        ]

    def _variables(self) -> dict[str, str]:
        # The interpreter's own library, and the packages that its model processes import.
        libraries = (self._libraries, Path(sys.base_prefix) / "lib")
        path = self.environment.folder() / "bin"
        return {
            **os.environ,
            "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
            "PATH": f"{path}:{os.environ['PATH']}",
            "PYTHONPATH": str(self._libraries.parent),
        }

    def add(self, model: str) -> Path:
        """The folder of a new model, with Triton's settings for it."""
        folder = super().add(model)
        datatype = "STRING" if model == "bytes" else model.upper()
        tensor = f'[{{ name: "x", data_type: TYPE_{datatype}, dims: [-1] }}]'
        (folder / "config.pbtxt").write_text(
            f'backend: "python"\ninput {tensor}\noutput {tensor}\n'
        )
        (folder / "1").mkdir()
        shutil.copy(SCRIPTS / "triton_model.py", folder / "1" / "model.py")
        return folder
