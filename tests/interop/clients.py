"""This project's client and the two that it is compared with, behind one form.

Each is made in the interpreter of its own environment, so that nothing here
imports more than one of them, nor anything else of this project.
"""

import asyncio
import hashlib
import json
import sys
from typing import Any

TENSOR = "x"


class Ours:
    """This project's client."""

    # An array given as data is sent from where it lies, without a copy of it before.
    by_reference = False

    def __init__(self, url: str, **options: Any) -> None:
        from sidecar import client

        self._types: Any = client
        self._client = client.InferenceGRPCClient(url, **options)

    async def live(self) -> bool:
        """ServerLive."""
        return await self._client.is_server_live()

    async def server_ready(self) -> bool:
        """ServerReady."""
        return await self._client.is_server_ready()

    async def ready(self, model: str) -> bool:
        """ModelReady."""
        return await self._client.is_model_ready(model)

    def _request(self, model: str, datatype: str, array: Any, *, raw: bool) -> Any:
        tensor = self._types.InferInput(TENSOR, list(array.shape), datatype)
        if raw and self.by_reference:
            tensor.data = array
        else:
            tensor.set_data_from_numpy(array, binary_data=raw)
        return self._types.InferRequest(model, [tensor])

    def encode(self, model: str, datatype: str, array: Any, *, raw: bool = True) -> bytes:
        """The bytes of a request."""
        data: bytes = self._request(model, datatype, array, raw=raw).to_bytes()
        return data

    def decode(self, reply: bytes) -> Any:
        """The array in the bytes of a response."""
        return self._types.InferResponse.from_grpc(reply).outputs[0].as_numpy()

    async def infer(self, model: str, datatype: str, array: Any, *, raw: bool = True) -> Any:
        """An array there, and the first output's back."""
        response = await self._client.infer(self._request(model, datatype, array, raw=raw))
        return response.outputs[0].as_numpy()

    async def stream(self, model: str, datatype: str, array: Any) -> int:
        """An array there; the number of responses, of each of which the first output is read."""
        count = 0
        async for response in self._client.infer_stream(
            self._request(model, datatype, array, raw=True)
        ):
            response.outputs[0].as_numpy()
            count += 1
        return count


class OursByReference(Ours):
    """This project's client, with arrays given as data."""

    by_reference = True


class KServe(Ours):
    """KServe's client, whose names are the same."""

    def __init__(self, url: str, **options: Any) -> None:
        import kserve  # type: ignore[import-not-found]
        from kserve.protocol.grpc import grpc_predict_v2_pb2  # type: ignore[import-not-found]

        self._types = kserve
        self._messages = grpc_predict_v2_pb2
        self._client = kserve.InferenceGRPCClient(url, **options)

    def encode(self, model: str, datatype: str, array: Any, *, raw: bool = True) -> bytes:
        """The bytes of a request."""
        message = self._request(model, datatype, array, raw=raw).to_grpc()
        data: bytes = message.SerializeToString()
        return data

    def decode(self, reply: bytes) -> Any:
        """The array in the bytes of a response."""
        return super().decode(self._messages.ModelInferResponse.FromString(reply))


class Triton:
    """tritonclient's asynchronous client, which sends raw bytes only."""

    def __init__(self, url: str, **options: Any) -> None:
        import tritonclient.grpc  # type: ignore[import-not-found]
        import tritonclient.grpc.aio  # type: ignore[import-not-found]

        self._types = tritonclient.grpc
        self._client = tritonclient.grpc.aio.InferenceServerClient(url, **options)

    async def live(self) -> bool:
        """ServerLive."""
        return bool(await self._client.is_server_live())

    async def server_ready(self) -> bool:
        """ServerReady."""
        return bool(await self._client.is_server_ready())

    async def ready(self, model: str) -> bool:
        """ModelReady."""
        return bool(await self._client.is_model_ready(model, client_timeout=60))

    def _inputs(self, datatype: str, array: Any) -> list[Any]:
        tensor = self._types.InferInput(TENSOR, list(array.shape), datatype)
        tensor.set_data_from_numpy(array)
        return [tensor]

    def encode(self, model: str, datatype: str, array: Any) -> bytes:
        """The bytes of a request."""
        options = dict.fromkeys(("outputs", "timeout", "parameters"))
        options |= dict.fromkeys(("model_version", "request_id"), "")
        options |= dict.fromkeys(("sequence_id", "priority"), 0)
        options |= dict.fromkeys(("sequence_start", "sequence_end"), False)
        data: bytes = self._types._utils._get_inference_request(
            model_name=model, inputs=self._inputs(datatype, array), **options
        ).SerializeToString()
        return data

    def decode(self, reply: bytes) -> Any:
        """The array in the bytes of a response."""
        message = self._types.service_pb2.ModelInferResponse.FromString(reply)
        return self._types.InferResult(message).as_numpy(TENSOR)

    async def infer(self, model: str, datatype: str, array: Any) -> Any:
        """An array there, and the first output's back."""
        inputs = self._inputs(datatype, array)
        result = await self._client.infer(model, inputs, client_timeout=60)
        return result.as_numpy(result.get_response().outputs[0].name)

    async def stream(self, model: str, datatype: str, array: Any) -> int:
        """An array there; the number of responses, of each of which the first output is read."""

        async def requests() -> Any:
            yield {"model_name": model, "inputs": self._inputs(datatype, array)}

        count = 0
        async for result, error in self._client.stream_infer(requests(), stream_timeout=60):
            assert error is None
            result.as_numpy(TENSOR)
            count += 1
        return count


CLIENTS: dict[str, Any] = {
    "ours": OursByReference,
    "ours, copying": Ours,
    "kserve": KServe,
    "tritonclient": Triton,
}


def array_of(datatype: str, elements: int) -> Any:
    """The same array in every process."""
    import numpy as np

    numbers = np.arange(elements)
    if datatype == "BYTES":
        return np.array([b"\xc3\xa9%d" % number for number in numbers], object)
    dtype = {"FP32": "f4", "INT64": "i8", "FP16": "f2", "BOOL": "?"}[datatype]
    return (numbers % 7 - 3 if datatype != "BOOL" else numbers % 3 == 0).astype(dtype)


def digest(array: Any) -> str:
    """What tells two arrays apart: dtype, shape, and all the elements."""
    content = repr(array.tolist()) if array.dtype == object else array.tobytes().hex()
    short = hashlib.sha256(content.encode()).hexdigest()[:16]
    return f"{array.dtype} {list(array.shape)} {short}"


async def outcome(call: Any) -> Any:
    """What a call came to: its answer, or the status that it ended with."""
    try:
        return await call
    except Exception as error:  # noqa: BLE001 # each client has its own
        status = getattr(error, "code", None) or getattr(error, "status", None)
        return str(status() if callable(status) else status or type(error).__name__)


async def main(name: str, url: str, cases: list[Any]) -> list[Any]:
    """The outcome of each case, made by one client."""
    client = CLIENTS[name](url)
    outcomes = [
        await outcome(client.live()),
        await outcome(client.server_ready()),
        await outcome(client.ready("fp32")),
        await outcome(client.ready("missing")),
    ]
    for datatype, elements, raw in cases:
        array = array_of(datatype, elements)
        # tritonclient has the raw form only.
        form = {} if name == "tritonclient" else {"raw": raw}
        answer = await outcome(client.infer(datatype.lower(), datatype, array, **form))
        outcomes.append(answer if isinstance(answer, str) else digest(answer))
    return outcomes


if __name__ == "__main__":
    given = json.load(sys.stdin)
    sys.stdout.write(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], given))))
