"""A model for TorchServe, which imports it in each worker by the name in the manifest."""

import json
import time
from pathlib import Path
from typing import Any


class FolderModel:
    """A model that loads until its folder has `loaded`, or `failed`."""

    def initialize(self, context: Any) -> None:
        """Returns, in the end."""
        folder = self._folder = Path(context.system_properties["model_dir"])
        while not (folder / "loaded").exists():
            if (folder / "failed").exists():
                raise RuntimeError(f"{folder.name} was told to fail")
            time.sleep(0.02)

    def handle(self, data: Any, context: Any) -> Any:
        """The inputs as outputs, unless the folder has `raise`, or as long as it has `hang`."""
        del context
        if (self._folder / "raise").exists():
            raise ValueError("told to raise")
        while (self._folder / "hang").exists():
            time.sleep(0.02)
        answers = []
        for row in data:
            given = row.get("body", row)
            given = json.loads(given) if isinstance(given, bytes | str) else given
            about = {name: given.get(name, "") for name in ("id", "model_name", "model_version")}
            answers.append({**about, "outputs": given["inputs"]})
        return answers
