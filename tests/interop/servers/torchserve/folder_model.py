"""A model for TorchServe, which imports it in each worker by the name in the manifest."""

import time
from pathlib import Path
from typing import Any


class FolderModel:
    """A model that loads until its folder has `loaded`, or `failed`."""

    def initialize(self, context: Any) -> None:
        """Returns, in the end."""
        folder = Path(context.system_properties["model_dir"])
        while not (folder / "loaded").exists():
            if (folder / "failed").exists():
                raise RuntimeError(f"{folder.name} was told to fail")
            time.sleep(0.02)

    def handle(self, data: Any, context: Any) -> Any:
        """The inputs as outputs."""
        del context
        return data
