"""KServe's ModelServer over a folder of models; run by that server's own interpreter."""

import asyncio
import sys
import threading
import time
from pathlib import Path

from kserve import (  # type: ignore[import-not-found]
    InferOutput,
    InferRequest,
    InferResponse,
    Model,
    ModelServer,
)


def seconds(file: Path) -> float:
    """The number in a file, 0 if it is not there."""
    return float(file.read_text()) if file.exists() else 0


class FolderModel(Model):  # type: ignore[misc]
    """A model that loads until its folder has `loaded`, or `failed`; unready while `unready`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder.name)
        self._folder = folder

    def load(self) -> bool:
        """True, in the end."""
        while not (self._folder / "loaded").exists():
            if (self._folder / "failed").exists():
                raise RuntimeError(f"{self.name} was told to fail")
            time.sleep(0.02)
        self.ready = True
        return True

    async def predict(self, payload: InferRequest, headers: object = None) -> InferResponse:
        """The inputs as outputs, unless the folder has `raise`, or as long as it has `hang`.

        It takes the seconds in `block` of the whole server.
        """
        del headers
        if (self._folder / "raise").exists():
            raise ValueError("told to raise")
        while (self._folder / "hang").exists():  # noqa: ASYNC110 # the event is another process's
            await asyncio.sleep(0.02)
        time.sleep(seconds(self._folder / "block"))  # noqa: ASYNC251 # as synchronous models do
        outputs = []
        for tensor in payload.inputs:
            output = InferOutput(tensor.name, tensor.shape, tensor.datatype)
            output.set_data_from_numpy(tensor.as_numpy(), binary_data=payload.use_binary_outputs)
            outputs.append(output)
        return InferResponse(
            payload.id, self.name, outputs, use_binary_outputs=payload.use_binary_outputs
        )

    async def healthy(self) -> bool:
        """The answer to ModelReady."""
        return self.ready and not (self._folder / "unready").exists()


if __name__ == "__main__":
    server = ModelServer()  # takes its ports from the command line
    for folder in Path(sys.argv[1]).iterdir():
        model = FolderModel(folder)
        # start() refuses a model that is not ready, registering does not.
        server.register_model(model)
        threading.Thread(target=model.load, daemon=True).start()
    server.start([])
