"""A decoupled model for Triton's Python backend: a response for each element of its one input."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as triton  # type: ignore[import-not-found]

FAIL, HANG = -1, -2


class TritonPythonModel:
    """Fails at an element FAIL, and at HANG waits until the call is cancelled."""

    def initialize(self, args: dict[str, Any]) -> None:
        """Returns at once."""
        self._folder = Path(args["model_repository"])

    def execute(self, requests: list[Any]) -> None:
        """Sends the responses of each request."""
        for request in requests:
            sender = request.get_response_sender()
            for value in triton.get_input_tensor_by_name(request, "x").as_numpy():
                self._send(sender, int(value))
            sender.send(flags=triton.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _send(self, sender: Any, value: int) -> None:
        if value == FAIL:
            error = triton.TritonError("told to fail")
            sender.send(triton.InferenceResponse(error=error))
        elif value == HANG:
            while not sender.is_cancelled():
                time.sleep(0.02)
            (self._folder / "cancelled").touch()
        else:
            tensor = triton.Tensor("x", np.array([value], np.int32))
            sender.send(triton.InferenceResponse([tensor]))
