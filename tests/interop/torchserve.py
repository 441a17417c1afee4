"""TorchServe, whose models are folders and need no archive."""

import json
import os
from pathlib import Path

from sidecar.core.target import Server
from tests.interop.environments import TORCHSERVE
from tests.interop.inference_servers import SCRIPTS, InferenceServer, Words
from tests.support import free_port, require_program


class TorchServe(InferenceServer):
    """TorchServe, started without its launcher, which would not pass SIGTERM on."""

    environment = TORCHSERVE
    identity = Server("torchserve")
    grpc_service = "org.pytorch.serve.grpc.openinference.GRPCInferenceService"
    words = Words(loading="ok", version_1="model_not_found")
    missing_model = "StatusCode.NOT_FOUND"
    worker = ("model_service_worker.py",)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._java = require_program("java")
        self._tokens = False
        self._temporary = folder / "tmp"
        self._temporary.mkdir()

    def restrict(self) -> None:
        """Answers nobody without a token, as it does unless it is told otherwise."""
        self._tokens = True

    def permission(self) -> tuple[str, str]:
        """The sidecar's flag that gives it the token of this start, and what of it is secret."""
        keys = json.loads((self._folder / "key_file.json").read_text())
        token = keys["inference"]["key"]
        file = self._folder / "token"
        file.write_text(token)
        return f"--bearer-token-file={file}", token

    def _command(self) -> list[str]:
        python = Path(self.environment.program("python"))
        home = next(python.parents[1].glob("lib/python*/site-packages"))
        settings = {
            "inference_address": f"http://127.0.0.1:{free_port()}",
            "management_address": f"http://127.0.0.1:{self._http_port}",
            "metrics_address": f"http://127.0.0.1:{free_port()}",
            "grpc_inference_address": "127.0.0.1",
            "grpc_inference_port": self.port,
            "grpc_management_address": "127.0.0.1",
            "grpc_management_port": free_port(),
            "ts_open_inference_protocol": "true",
            "load_models": "all",
            "default_workers_per_model": 1,
            "disable_system_metrics": "true",
        }
        config = self._folder / "config.properties"
        config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        command = [self._java, f"-Djava.io.tmpdir={self._temporary}", f"-Dmodel_server_home={home}"]
        command += ["-cp", f"{home}/ts/frontend/*", "org.pytorch.serve.ModelServer"]
        command += ["--python", str(python), "-f", str(config), "-s", str(self._models), "-ncs"]
        command += ["--enable-model-api"]
        return command if self._tokens else [*command, "--disable-token-auth"]

    def _variables(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(SCRIPTS / "torchserve")}

    def add(self, model: str) -> Path:
        """The folder of a new model, with TorchServe's settings for it."""
        folder = super().add(model)
        (folder / "MAR-INF").mkdir()
        description = {
            "modelName": model,
            "modelVersion": "1.0",
            "handler": "folder_model.py",
            "configFile": "model-config.yaml",
        }
        manifest = {"runtime": "python", "model": description}
        (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(manifest))
        # So long it tries to load a model that fails, and calls it ready; else 300 s.
        (folder / "model-config.yaml").write_text("maxRetryTimeoutInSec: 1\n")
        return folder

    def scale(self, model: str, workers: int) -> None:
        """Has so many workers compute for a model."""
        path = f"/models/{model}?min_worker={workers}&max_worker={workers}&synchronous=true"
        self._tell("PUT", path)

    def unload(self, model: str) -> None:
        """Has the server take back a model."""
        self._tell("DELETE", f"/models/{model}")
