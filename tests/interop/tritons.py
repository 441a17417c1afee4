"""Triton, alone and as PyTriton starts it, both from the one wheel that carries it."""

import contextlib
import http.client
import os
import shutil
import sys
from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from sidecar.core.target import Server
from tests.interop.environments import TRITON
from tests.interop.inference_servers import SCRIPTS, SPAWNED, InferenceServer, Words
from tests.support import wait_until

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
# The stubs that run the models in Python want their interpreter's own library.
LIBRARY = Path(sys.base_prefix) / "lib"
KEY = "s3cret"
STUB = ("triton_python_backend_stub", " {model}_0")


class RestrictableServer(InferenceServer):
    """A Triton in either form, which can demand a header of who asks after its health."""

    environment = TRITON
    missing_model = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._restriction = ""

    def restrict(self, protocol: str = "health") -> None:
        """Answers nobody without a certain header, from the next start on."""
        self._restriction = f"{protocol}:x-key={KEY}" if protocol else ""

    def permission(self) -> tuple[str, str]:
        """The sidecar's flag that gives it that header, and what of it is secret."""
        return f"--headers=triton-grpc-protocol-x-key={KEY}", KEY

    def kill(self) -> None:
        """As every server, and frees the shared memory that a Triton leaves when it is killed."""
        regions = self._process and self._shared_memory(self._process.pid)
        super().kill()
        if regions:
            for region in Path("/dev/shm").glob(regions):
                region.unlink()

    @abstractmethod
    def _shared_memory(self, pid: int) -> str:
        """The pattern of its regions' names, when this is its first process."""


class Triton(RestrictableServer):
    """Triton with the models under explicit control. A model takes the datatype it is named by."""

    identity = Server("triton", "2.51.0")
    worker = STUB
    instances: ClassVar[int] = 1
    words = Words(
        server_loading="not_ready",
        server_failed="not_ready",
        missing="not_ready",
        version_99="not_ready",
        version_abc="error",
        exiting="shutting_down",
    )

    def __init__(self, folder: Path, *flags: str) -> None:
        super().__init__(folder)
        self._flags = flags
        self._home = folder / "triton"
        self._loads: list[http.client.HTTPConnection] = []
        site = self.environment.folder() / "lib" / f"python{MINOR}" / "site-packages"
        self._libraries = site / "nvidia_pytriton.libs"
        wheel = site / "pytriton" / "tritonserver"
        self._program = wheel / "bin" / "tritonserver"
        for part in ("backends", "caches"):
            shutil.copytree(wheel / part, self._home / part)
        stub = self._home / "backends" / "python" / "triton_python_backend_stub"
        shutil.copy(wheel / "python_backend_stubs" / MINOR / stub.name, stub)
        for program in (self._program, stub):
            program.chmod(0o755)

    def _command(self) -> list[str]:
        loaded = [f"--load-model={p.parent.name}" for p in self._models.glob("*/loaded")]
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
            "--model-control-mode=explicit",
            f"--backend-config=python,shm-region-prefix-name=triton-{self.port}-",
            *loaded,
            *([f"--grpc-restricted-protocol={self._restriction}"] if self._restriction else []),
            *self._flags,
        ]

    def _shared_memory(self, pid: int) -> str:
        del pid  # unknown when the name is given
        return f"triton-{self.port}-*"

    def _variables(self) -> dict[str, str]:
        path = self.environment.folder() / "bin"
        return {
            **os.environ,
            "LD_LIBRARY_PATH": f"{self._libraries}:{LIBRARY}",
            "PATH": f"{path}:{os.environ['PATH']}",
            # The packages that its model processes import.
            "PYTHONPATH": str(self._libraries.parent),
        }

    def add(self, model: str, more: str = "") -> Path:
        """The folder of a new model, with Triton's settings for it, and more of them."""
        folder = super().add(model)
        datatype = {"bytes": "STRING"}.get(model, model.upper())
        tensor = f'[{{ name: "x", data_type: TYPE_{datatype}, dims: [-1] }}]'
        (folder / "config.pbtxt").write_text(
            f'backend: "python"\ninput {tensor}\noutput {tensor}\n'
            f"instance_group [{{ count: {self.instances}, kind: KIND_CPU }}]\n{more}\n"
        )
        (folder / "1").mkdir()
        shutil.copy(SCRIPTS / "triton_model.py", folder / "1" / "model.py")
        return folder

    def add_stream(self, model: str) -> Path:
        """The folder of a new decoupled model, which is loaded."""
        folder = super().add(model)
        tensor = '[{ name: "x", data_type: TYPE_INT32, dims: [-1] }]'
        (folder / "config.pbtxt").write_text(
            f'backend: "python"\ninput {tensor}\noutput {tensor}\n'
            "model_transaction_policy { decoupled: true }\n"
        )
        (folder / "1").mkdir()
        shutil.copy(SCRIPTS / "triton_stream_model.py", folder / "1" / "model.py")
        self.load(model)
        return folder

    def start(self, *, loaded: Iterable[str] = (), loading: Iterable[str] = ()) -> None:
        """As every server; the models that load are asked for when its ports are open."""
        for model in loading:
            self.add(model)
        super().start(loaded=loaded)
        for model in loading:
            self.begin_load(model)

    def begin_load(self, model: str) -> None:
        """Has it load a model, and does not wait for that."""
        connection = http.client.HTTPConnection("127.0.0.1", self._http_port)
        connection.request("POST", f"/v2/repository/models/{model}/load")
        self._loads.append(connection)

    def kill(self) -> None:
        """As every server."""
        super().kill()
        while self._loads:
            self._loads.pop().close()


class PollingTriton(Triton):
    """Triton that loads what it finds in its repository, and unloads what is gone."""

    def _command(self) -> list[str]:
        explicit = ("--load-model=", "--model-control-mode=")
        command = [part for part in super()._command() if not part.startswith(explicit)]
        return [*command, "--model-control-mode=poll", "--repository-poll-secs=1"]


class TritonWithTwoInstances(Triton):
    """Triton that has two workers for each model, which take turns."""

    instances = 2


class PyTriton(RestrictableServer):
    """PyTriton. A model that loads is not known to its Triton until it has been loaded."""

    identity = Server("pytriton", "2.51.0")
    worker = (SPAWNED,)
    words = Words(
        failed="unreachable",
        server_failed="unreachable",
        missing="not_ready",
        version_99="not_ready",
        version_abc="error",
        exiting="shutting_down",
    )

    def _command(self) -> list[str]:
        script = str(SCRIPTS / "pytriton_models.py")
        ports = (str(self.port), str(self._http_port))
        workspace = self._folder / "workspace"
        # It does not start over the one that a killed server left.
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(workspace)
        where = (str(self._models), str(workspace))
        python = self.environment.program("python")
        return [python, script, *where, *ports, KEY, self._restriction]

    def _shared_memory(self, pid: int) -> str:
        return f"pytrtion{pid}-*"  # so it is spelt

    def _variables(self) -> dict[str, str]:
        return {**os.environ, "LD_LIBRARY_PATH": str(LIBRARY)}

    def start(self, *, loaded: Iterable[str] = (), loading: Iterable[str] = ()) -> None:
        """As every server, and waits for the models that are loaded: each makes all unready."""
        for bound in self._models.glob("*/bound"):
            bound.unlink()
        super().start(loaded=loaded, loading=loading)
        folders = [loaded.parent for loaded in self._models.glob("*/loaded")]
        wait_until(lambda: all((folder / "bound").exists() for folder in folders), within=30)

    def unload(self, model: str) -> None:
        """Has its Triton take back a model, which PyTriton itself does not offer."""
        path = f"/v2/repository/models/{model}/unload"
        self._tell("POST", path, **{"triton-access-token": KEY})
