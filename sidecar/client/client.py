"""InferenceGRPCClient: the health calls, inference, metadata and the repository index."""

from collections.abc import AsyncGenerator
from functools import partial

from google.protobuf.message import Message

from sidecar.client import description, protobuf
from sidecar.client.description import ModelMetadata, ModelStatistics
from sidecar.client.health import HealthClient
from sidecar.client.inference import streamed
from sidecar.client.inference.request import InferRequest, to_bytes
from sidecar.client.inference.response import InferResponse
from sidecar.client.metadata import Headers
from sidecar.client.timeout import USE_CLIENT_DEFAULT, Timeout
from sidecar.oip import messages


class InferenceGRPCClient(HealthClient):
    """A client for any server with the Open Inference Protocol over gRPC.

    Its constructor and its calls have the names and the order of arguments of
    KServe's class of the same name. The constructor, the health calls and the
    connection are those of HealthClient, and so are the arguments `timeout` and
    `headers` of every call and the exceptions: InvalidInput if an argument is
    not valid, grpc.RpcError if the status is not OK, grpc.aio.UsageError after
    `close`.

    Source: the Open Inference Protocol's gRPC definition; this project's text
    of it is protos/open_inference.proto.
    """

    async def infer(
        self,
        infer_request: InferRequest | Message,
        timeout: Timeout = USE_CLIENT_DEFAULT,
        headers: Headers | None = None,
    ) -> InferResponse:
        """Run a model once and return its response (ModelInfer).

        infer_request:  an InferRequest, or a ModelInferRequest message of any
                        package, such as kserve's or tritonclient's.

        Raises InvalidInput, which names the tensor, before anything is sent if
        an input is not valid, and after the reply if an output is not valid.
        Other exceptions as in every call.
        """
        request, read = to_bytes(infer_request), InferResponse.from_grpc
        about = infer_request if isinstance(infer_request, InferRequest) else ""
        return await self._connection.call("ModelInfer", request, read, timeout, headers, about)

    def infer_stream(
        self,
        request: InferRequest | Message,
        timeout: Timeout = USE_CLIENT_DEFAULT,
        headers: Headers | None = None,
    ) -> AsyncGenerator[InferResponse, None]:
        """Run a model and return an iterator over its responses, in order (ModelStreamInfer).

            async for response in client.infer_stream(request, timeout=30):
                print(response.outputs[0].as_string())

        request:  as in `infer`.
        timeout:  seconds that the whole stream may take.

        The call is made when the iteration starts. It is cancelled when the
        loop is left or the task is cancelled; an iterator that is kept in a
        variable has to be ended with `aclose()`. There are no retries after the
        first response.

        Raises InvalidInput at once if an argument is not valid. The iteration
        raises InferenceError for an error message in the stream, as Triton
        sends them, which ends the stream; grpc.RpcError if the status is not
        OK; and InvalidInput if a response is not valid.

        Triton, OpenVINO Model Server and MLServer have this call; other servers
        answer UNIMPLEMENTED. The empty final response that Triton sends for the
        request parameter `triton_enable_empty_final_response` is skipped,
        because the iteration ends there.
        """
        data = to_bytes(request)
        read = partial(streamed.read, model_name=getattr(request, "model_name", ""))
        about = request if isinstance(request, InferRequest) else ""
        return self._connection.stream("ModelStreamInfer", data, read, timeout, headers, about)

    async def model_metadata(
        self,
        model_name: str,
        model_version: str = "",
        timeout: Timeout = USE_CLIENT_DEFAULT,
        headers: Headers | None = None,
    ) -> ModelMetadata:
        """Return a model's versions, platform and tensors (ModelMetadata).

        model_version:  empty lets the server choose a version.
        """
        request = protobuf.build(
            messages.ModelMetadataRequest, name=model_name, version=model_version
        )
        data, read = request.SerializeToString(), description.model_metadata
        return await self._connection.call("ModelMetadata", data, read, timeout, headers)

    async def model_statistics(
        self,
        model_name: str = "",
        model_version: str = "",
        timeout: Timeout = USE_CLIENT_DEFAULT,
        headers: Headers | None = None,
    ) -> tuple[ModelStatistics, ...]:
        """Return what each version of a model has done since it was loaded (ModelStatistics).

        model_name:     empty for all models.
        model_version:  empty for all versions.

        Triton has this call; other servers answer UNIMPLEMENTED.
        """
        request = protobuf.build(
            messages.ModelStatisticsRequest, name=model_name, version=model_version
        )
        data, read = request.SerializeToString(), description.model_statistics
        return await self._connection.call("ModelStatistics", data, read, timeout, headers)
