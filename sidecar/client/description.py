"""The metadata of a server and of its models, as plain values."""

from dataclasses import dataclass

from sidecar.client import protobuf
from sidecar.oip import messages


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """The metadata of a server.

    name:        the server's name.
    version:     its version.
    extensions:  the protocol extensions that it supports.

    Source: the Open Inference Protocol, ServerMetadataResponse.
    """

    name: str
    version: str
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """An input or output tensor of a model.

    name:      the model's name for it.
    datatype:  the protocol's name of the datatype, such as FP32.
    shape:     the size of each dimension; -1 for a dimension of variable size.

    Source: the Open Inference Protocol, ModelMetadataResponse.TensorMetadata.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """The metadata of a model.

    name:      the model's name.
    versions:  the versions that the server has.
    platform:  the framework or backend, as the server names it.
    inputs:    its input tensors.
    outputs:   its output tensors.

    Source: the Open Inference Protocol, ModelMetadataResponse.
    """

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


@dataclass(frozen=True, slots=True)
class ModelIndex:
    """A model in the server's repository.

    name:     the model's name.
    version:  its version.
    state:    READY, LOADING, UNLOADING or UNAVAILABLE; a server may send other
              states, and an empty one for a model that was never loaded.
    reason:   why the model is unavailable, or empty.

    Source: the model repository extension, RepositoryIndexResponse.
    """

    name: str
    version: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class ModelStatistics:
    """What a version of a model has done since it was loaded.

    name, version:    the model and its version.
    execution_count:  how often the model ran; a batch counts once.
    success, fail:    requests that succeeded and that failed.
    cache_hit:        requests that were answered from the response cache.

    Source: Triton's statistics extension, ModelStatisticsResponse.
    """

    name: str
    version: str
    execution_count: int
    success: int
    fail: int
    cache_hit: int


def server_metadata(data: bytes) -> ServerMetadata:
    """Read a serialized ServerMetadataResponse. Raises Unreadable if it cannot be parsed."""
    reply = protobuf.parse(messages.ServerMetadataResponse, data)
    return ServerMetadata(reply.name, reply.version, tuple(reply.extensions))


def model_metadata(data: bytes) -> ModelMetadata:
    """Read a serialized ModelMetadataResponse. Raises Unreadable if it cannot be parsed."""
    reply = protobuf.parse(messages.ModelMetadataResponse, data)
    inputs, outputs = (
        tuple(TensorMetadata(t.name, t.datatype, tuple(t.shape)) for t in tensors)
        for tensors in (reply.inputs, reply.outputs)
    )
    return ModelMetadata(reply.name, tuple(reply.versions), reply.platform, inputs, outputs)


def repository_index(data: bytes) -> tuple[ModelIndex, ...]:
    """Read a serialized RepositoryIndexResponse; MLServer's `State.READY` becomes READY.

    Raises Unreadable if it cannot be parsed.
    """
    reply = protobuf.parse(messages.RepositoryIndexResponse, data)
    return tuple(
        ModelIndex(model.name, model.version, model.state.removeprefix("State."), model.reason)
        for model in reply.models
    )


def model_statistics(data: bytes) -> tuple[ModelStatistics, ...]:
    """Read a serialized ModelStatisticsResponse. Raises Unreadable if it cannot be parsed."""
    reply = protobuf.parse(messages.ModelStatisticsResponse, data)
    return tuple(
        ModelStatistics(
            model.name,
            model.version,
            model.execution_count,
            model.inference_stats.success.count,
            model.inference_stats.fail.count,
            model.inference_stats.cache_hit.count,
        )
        for model in reply.model_stats
    )
