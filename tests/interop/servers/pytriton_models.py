"""PyTriton over a folder of models; run by that server's own interpreter."""

import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pytriton.model_config import Tensor  # type: ignore[import-not-found]
from pytriton.triton import (  # type: ignore[import-not-found]
    Triton,
    TritonConfig,
    TritonSecurityConfig,
)


def infer(folder: Path, requests: list[Any]) -> list[Any]:
    """The inputs as outputs, unless the folder has `raise`, or as long as it has `hang`."""
    if (folder / "raise").exists():
        raise ValueError("told to raise")
    while (folder / "hang").exists():
        time.sleep(0.02)
    return [{"x": request["x"]} for request in requests]


def wait_for_load(folder: Path) -> None:
    """Until the folder has `loaded`, or `failed`."""
    while not (folder / "loaded").exists():
        if (folder / "failed").exists():
            raise RuntimeError(f"{folder.name} was told to fail")
        time.sleep(0.02)


if __name__ == "__main__":
    models, workspace, grpc_port, http_port, key, restriction = sys.argv[1:]
    config = TritonConfig(
        grpc_address="127.0.0.1",
        grpc_port=int(grpc_port),
        http_address="127.0.0.1",
        http_port=int(http_port),
        allow_metrics=False,
        grpc_restricted_protocol=restriction or None,
    )
    # Its own way to restrict would take the place of ours. With "health" in it, PyTriton 0.7.0
    # waits for its own Triton forever, because there it does not show the header itself.
    endpoints = [] if restriction else ["model-repository"]
    security = TritonSecurityConfig(access_token=key, restricted_endpoints=endpoints)
    x = Tensor(name="x", dtype=np.float32, shape=(-1,))
    with Triton(config=config, workspace=workspace, security_config=security) as triton:
        # Those that are loaded come first: binding one waits for nothing else.
        for folder in sorted(Path(models).iterdir(), key=lambda f: not (f / "loaded").exists()):
            wait_for_load(folder)
            triton.bind(folder.name, partial(infer, folder), inputs=[x], outputs=[x])
            (folder / "bound").touch()
        triton.serve()
