"""A stand-in for PyTorch: what TorchServe's workers want of it to load a model."""


class Tensor:
    """What no model here returns."""
