"""A model for Triton's Python backend, which imports it from each model's folder."""

import triton_python_backend_utils as triton  # type: ignore[import-not-found]


class TritonPythonModel:
    """Gives back its one input."""

    def execute(self, requests):
        """A response for each request."""
        return [
            triton.InferenceResponse(
                [triton.Tensor("x", triton.get_input_tensor_by_name(request, "x").as_numpy())]
            )
            for request in requests
        ]
