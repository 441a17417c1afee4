"""A model for Triton's Python backend, which imports it from each model's folder."""

import time
from pathlib import Path
from typing import Any

import triton_python_backend_utils as triton  # type: ignore[import-not-found]


class TritonPythonModel:
    """Gives back its one input. It loads until its folder has `loaded`, or `failed`."""

    def initialize(self, args: dict[str, Any]) -> None:
        """Returns, in the end."""
        folder = self._folder = Path(args["model_repository"])
        while not (folder / "loaded").exists():
            if (folder / "failed").exists():
                raise RuntimeError(f"{folder.name} was told to fail")
            time.sleep(0.02)

    def execute(self, requests):
        """A response for each request; fails while the folder has `raise`, waits while `hang`.

        It takes the seconds in `block`.
        """
        if (self._folder / "raise").exists():
            raise ValueError("told to raise")
        while (self._folder / "hang").exists():
            time.sleep(0.02)
        block = self._folder / "block"
        if block.exists():
            time.sleep(float(block.read_text()))
        return [
            triton.InferenceResponse(
                [triton.Tensor("x", triton.get_input_tensor_by_name(request, "x").as_numpy())]
            )
            for request in requests
        ]
