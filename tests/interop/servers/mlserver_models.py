"""A model for MLServer, which imports it by the name in each model-settings.json."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

from mlserver import MLModel, ModelSettings  # type: ignore[import-not-found]
from mlserver.codecs import NumpyCodec  # type: ignore[import-not-found]
from mlserver.types import (  # type: ignore[import-not-found]
    InferenceRequest,
    InferenceResponse,
    ResponseOutput,
)


def seconds(file: Path) -> float:
    """The number in a file, 0 if it is not there."""
    return float(file.read_text()) if file.exists() else 0


class FolderModel(MLModel):  # type: ignore[misc]
    """A model that loads until its folder has `loaded`, or `failed`; unready while `unready`."""

    def __init__(self, settings: ModelSettings) -> None:
        self._folder = Path(settings.parameters.uri)
        super().__init__(settings)

    async def load(self) -> bool:
        """True, in the end."""
        # The event is another process's.
        while not (self._folder / "loaded").exists():
            if (self._folder / "failed").exists():
                raise RuntimeError(f"{self.name} was told to fail")
            await asyncio.sleep(0.02)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The inputs as outputs, unless the folder has `raise`, or as long as it has `hang`.

        It takes the seconds in `block` of its whole process.
        """
        if (self._folder / "raise").exists():
            raise ValueError("told to raise")
        while (self._folder / "hang").exists():  # noqa: ASYNC110 # the event is another process's
            await asyncio.sleep(0.02)
        time.sleep(seconds(self._folder / "block"))  # noqa: ASYNC251 # as synchronous models do
        outputs = [
            ResponseOutput(name=i.name, shape=i.shape, datatype=i.datatype, data=i.data)
            for i in payload.inputs
        ]
        return InferenceResponse(model_name=self.name, id=payload.id, outputs=outputs)

    @property
    def ready(self) -> bool:
        """The answer to ModelReady."""
        return self._loaded and not (self._folder / "unready").exists()

    @ready.setter
    def ready(self, loaded: bool) -> None:
        # MLServer sets this to what load() has returned.
        self._loaded = loaded


FAIL, HANG = -1, -2


class StreamModel(FolderModel):
    """A response for each element of its one input. Fails at FAIL, and waits for ever at HANG."""

    async def predict_stream(
        self, payloads: AsyncIterator[InferenceRequest]
    ) -> AsyncIterator[InferenceResponse]:
        """The responses of each request."""
        async for payload in payloads:
            for value in NumpyCodec.decode_input(payload.inputs[0]).tolist():
                if value == FAIL:
                    raise RuntimeError("told to fail")
                if value == HANG:
                    try:
                        await asyncio.Event().wait()
                    finally:
                        (self._folder / "cancelled").touch()
                output = ResponseOutput(name="x", shape=[1], datatype="INT32", data=[value])
                yield InferenceResponse(model_name=self.name, id=payload.id, outputs=[output])
