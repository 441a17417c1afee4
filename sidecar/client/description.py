"""What a server tells of itself and of its models."""

from dataclasses import dataclass

from sidecar.client import wire
from sidecar.oip import messages


@dataclass(frozen=True, slots=True)
class ServerMetadata:
    """The server's name, its version, and the extensions of the protocol that it speaks."""

    name: str
    version: str
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TensorMetadata:
    """A tensor that a model takes or gives; in its shape -1 is a dimension that varies."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """A model: its name, the versions that there are, its framework, its tensors."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


@dataclass(frozen=True, slots=True)
class ModelIndex:
    """A model in the server's repository.

    `state` is the server's word, mostly READY, LOADING, UNLOADING or
    UNAVAILABLE, or empty for a model that was never loaded; `reason` says why
    it is unavailable.
    """

    name: str
    version: str
    state: str
    reason: str


def server_metadata(data: bytes) -> ServerMetadata:
    """From the bytes of the protocol's message."""
    reply = wire.parse(messages.ServerMetadataResponse, data)
    return ServerMetadata(reply.name, reply.version, tuple(reply.extensions))


def model_metadata(data: bytes) -> ModelMetadata:
    """From the bytes of the protocol's message."""
    reply = wire.parse(messages.ModelMetadataResponse, data)
    inputs, outputs = (
        tuple(TensorMetadata(t.name, t.datatype, tuple(t.shape)) for t in tensors)
        for tensors in (reply.inputs, reply.outputs)
    )
    return ModelMetadata(reply.name, tuple(reply.versions), reply.platform, inputs, outputs)


def repository_index(data: bytes) -> tuple[ModelIndex, ...]:
    """From the bytes of the protocol's message; MLServer's `State.READY` is READY, as elsewhere."""
    reply = wire.parse(messages.RepositoryIndexResponse, data)
    return tuple(
        ModelIndex(model.name, model.version, model.state.removeprefix("State."), model.reason)
        for model in reply.models
    )
