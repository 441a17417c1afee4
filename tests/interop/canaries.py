"""The settings of canaries that the tests of real servers share."""

import json
from pathlib import Path

from tests.interop.inference_servers import InferenceServer
from tests.interop.tritons import Triton

MODEL = "fp32"
PERIOD, TIMEOUT, RECOVERY = 0.5, 1.0, 0.1
CANARY = (
    f"--canary-period-seconds={PERIOD}",
    f"--canary-timeout-seconds={TIMEOUT}",
    "--canary-success-threshold=1",
)


def shape_of(server: InferenceServer) -> list[int]:
    """Triton's models have a single dimension, PyTriton puts the batch before it."""
    return [2] if isinstance(server, Triton) else [1, 2]


def request_for(server: InferenceServer, folder: Path) -> str:
    """The settings of the model with the request that the server takes."""
    request = {
        "inputs": [{"name": "x", "shape": shape_of(server), "datatype": "FP32", "data": [1.0, 2.0]}]
    }
    file = folder / "request.json"
    file.write_text(json.dumps(request))
    model = [{"name": MODEL, "canary": {"request": str(file)}}]
    return f"--models={json.dumps(model)}"
