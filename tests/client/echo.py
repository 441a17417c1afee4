"""A server with every call of the protocol: its one model gives back what it is given.

python -m tests.client.echo      (prints its port; ends with standard input)
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence

import grpc
import grpc.aio

from sidecar.demo.server import Late, Refusal, Reply, Silence, ToyServer
from sidecar.oip import messages


class EchoServer(ToyServer):
    """The toy server, and the calls beyond health.

    replies:    by call, what is answered instead: bytes, well-formed or not.
    requests:   by call, the bytes that came last.
    stream:     what a stream answers; None for what it is given, in Triton's form and as
                often as the request's parameter `responses` says.
    cancelled:  how many streams were cancelled.
    """

    def __init__(self) -> None:
        super().__init__({"m": True})
        self.replies: dict[str, bytes] = {}
        self.requests: dict[str, bytes] = {}
        self.stream: Sequence[Reply] | None = None
        self.cancelled = 0

    def handlers(self):
        """What answers each call, on bytes beyond health."""
        size = messages.ModelMetadataResponse.TensorMetadata(name="x", datatype="FP32", shape=[-1])
        answers: dict[str, Callable[[bytes], bytes]] = {
            "ModelInfer": echo,
            "ServerMetadata": lambda _: messages.ServerMetadataResponse(
                name="echo", version="1", extensions=["a", "b"]
            ).SerializeToString(),
            "ModelMetadata": lambda data: messages.ModelMetadataResponse(
                name=messages.ModelMetadataRequest.FromString(data).name,
                versions=[messages.ModelMetadataRequest.FromString(data).version],
                platform="none",
                inputs=[size],
                outputs=[size],
            ).SerializeToString(),
            "RepositoryIndex": lambda data: messages.RepositoryIndexResponse(
                models=[
                    {"name": "m", "version": "1", "state": "State.READY"},
                    {"name": "n", "state": "UNAVAILABLE", "reason": "why"},
                ][: 1 if messages.RepositoryIndexRequest.FromString(data).ready else 2]
            ).SerializeToString(),
        }
        return (
            super().handlers()
            | {rpc: self._on_bytes(rpc, answer) for rpc, answer in answers.items()}
            | {"ModelStreamInfer": grpc.stream_stream_rpc_method_handler(self._stream)}
        )

    def _on_bytes(self, rpc, answer):
        async def handle(request: bytes, context) -> bytes:
            self.requests[rpc] = request
            self.metadata = dict(context.invocation_metadata() or ())
            return self.replies.get(rpc) or answer(request)

        return grpc.unary_unary_rpc_method_handler(handle)

    async def _stream(self, requests: AsyncIterator[bytes], context) -> AsyncIterator[bytes]:
        self.metadata = dict(context.invocation_metadata() or ())
        async for request in requests:
            self.asked["ModelStreamInfer"] += 1
            self.requests["ModelStreamInfer"] = request
            try:
                for step in repeated(request) if self.stream is None else self.stream:
                    if isinstance(step, Refusal):
                        await context.abort(step.code, step.details)
                    if isinstance(step, Silence):
                        await asyncio.Event().wait()
                    if isinstance(step, Late):
                        await asyncio.sleep(step.seconds)
                        step = step.reply  # noqa: PLW2901 # as the toy server has it
                    assert isinstance(step, bytes)
                    yield step
            except (asyncio.CancelledError, GeneratorExit):  # the second while a response is sent
                self.cancelled += 1
                raise


def repeated(data: bytes) -> list[bytes]:
    """The echo of a request as often as its parameter `responses` says, in Triton's form."""
    wanted = messages.ModelInferRequest.FromString(data).parameters
    times = wanted["responses"].int64_param if "responses" in wanted else 1
    return [wrapped(echo(data))] * times


def wrapped(response: bytes) -> bytes:
    """A response as Triton streams it."""
    return messages.ModelStreamInferResponse(
        infer_response=messages.ModelInferResponse.FromString(response)
    ).SerializeToString()


def echo(data: bytes) -> bytes:
    """The request's inputs as outputs of the same names, in the same form."""
    request = messages.ModelInferRequest.FromString(data)
    response = messages.ModelInferResponse(
        model_name=request.model_name,
        model_version=request.model_version or "1",
        id=request.id,
        parameters=request.parameters,
        raw_output_contents=request.raw_input_contents,
    )
    for tensor in request.inputs:
        # The two kinds of tensor have the same fields.
        response.outputs.add().ParseFromString(tensor.SerializeToString())
    return response.SerializeToString()


async def serve(server: EchoServer) -> None:
    """Prints the server's port, and serves until standard input ends."""
    async with server:
        sys.stdout.write(f"{server.port}\n")
        sys.stdout.flush()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve(EchoServer()))
