"""The metadata and inferences of the demo's server: a model returns its inputs."""

from collections.abc import Sequence
from dataclasses import dataclass

from sidecar.oip import messages


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input in a model's metadata; -1 is a variable dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(slots=True)
class Statistics:
    """The counters of a model, as Triton has them."""

    executions: int = 0
    failures: int = 0
    cache_hits: int = 0


INPUTS = (Tensor("x", "FP32", (-1, 4)),)


def metadata(name: str, inputs: Sequence[Tensor]) -> messages.ModelMetadataResponse:
    """Return the metadata of a model whose outputs are its inputs."""
    tensors = [
        messages.ModelMetadataResponse.TensorMetadata(
            name=tensor.name, datatype=tensor.datatype, shape=tensor.shape
        )
        for tensor in inputs
    ]
    return messages.ModelMetadataResponse(
        name=name, versions=["1"], platform="demo", inputs=tensors, outputs=tensors
    )


def echo(request: messages.ModelInferRequest) -> messages.ModelInferResponse:
    """Return each input as an output with the same name, datatype, shape and content."""
    response = messages.ModelInferResponse(
        model_name=request.model_name, model_version=request.model_version or "1", id=request.id
    )
    for tensor in request.inputs:
        output = response.outputs.add(
            name=tensor.name, datatype=tensor.datatype, shape=tensor.shape
        )
        output.contents.CopyFrom(tensor.contents)
    response.raw_output_contents.extend(request.raw_input_contents)
    return response


def statistics(name: str, counted: Statistics) -> messages.ModelStatisticsResponse:
    """Return the statistics of a model as Triton reports them."""
    succeeded = counted.executions - counted.failures
    model = messages.ModelStatistics(
        name=name, version="1", inference_count=succeeded, execution_count=counted.executions
    )
    model.inference_stats.success.count = succeeded
    model.inference_stats.fail.count = counted.failures
    model.inference_stats.cache_hit.count = counted.cache_hits
    return messages.ModelStatisticsResponse(model_stats=[model])
