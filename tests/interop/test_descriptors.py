"""Our messages and calls against those that kserve and tritonclient were published with."""

import subprocess
from collections.abc import Iterator

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

from sidecar.oip.messages import DESCRIPTOR
from tests.interop.environments import KSERVE, MLSERVER, TRITONCLIENT, Environment

# The first run installs the packages.
pytestmark = pytest.mark.timeout(900)

Facts = dict[str, tuple[object, ...]]

KSERVE_LACKS = {
    "inference.InferParameter.double_param",
    "inference.InferParameter.uint64_param",
    "inference.GRPCInferenceService.RepositoryIndex",
    "inference.GRPCInferenceService.ModelStreamInfer",
    "inference.ModelStreamInferResponse",
    "inference.ModelStreamInferResponse.error_message",
    "inference.ModelStreamInferResponse.infer_response",
    "inference.RepositoryIndexRequest",
    "inference.RepositoryIndexRequest.repository_name",
    "inference.RepositoryIndexRequest.ready",
    "inference.RepositoryIndexResponse",
    "inference.RepositoryIndexResponse.models",
    "inference.RepositoryIndexResponse.ModelIndex",
    "inference.RepositoryIndexResponse.ModelIndex.name",
    "inference.RepositoryIndexResponse.ModelIndex.version",
    "inference.RepositoryIndexResponse.ModelIndex.state",
    "inference.RepositoryIndexResponse.ModelIndex.reason",
    "inference.GRPCInferenceService.ModelStatistics",
    "inference.ModelStatisticsRequest",
    "inference.ModelStatisticsRequest.name",
    "inference.ModelStatisticsRequest.version",
    "inference.StatisticDuration",
    "inference.StatisticDuration.count",
    "inference.StatisticDuration.ns",
    "inference.InferStatistics",
    "inference.InferStatistics.success",
    "inference.InferStatistics.fail",
    "inference.InferStatistics.cache_hit",
    "inference.ModelStatistics",
    "inference.ModelStatistics.name",
    "inference.ModelStatistics.version",
    "inference.ModelStatistics.inference_count",
    "inference.ModelStatistics.execution_count",
    "inference.ModelStatistics.inference_stats",
    "inference.ModelStatisticsResponse",
    "inference.ModelStatisticsResponse.model_stats",
}


def message_facts(scope: str, message: DescriptorProto) -> Iterator[tuple[str, tuple[object, ...]]]:
    """What decides a message's form on the wire, of its fields and of what is nested in it."""
    name = f"{scope}.{message.name}"
    yield name, ("message", message.options.map_entry)
    for field in message.field:
        oneof = (
            message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else None
        )
        # Without the option the file's syntax decides.
        packed = field.options.packed if field.options.HasField("packed") else None
        yield (
            f"{name}.{field.name}",
            (field.number, field.label, field.type, field.type_name, oneof, packed),
        )
    for nested in message.nested_type:
        yield from message_facts(name, nested)


def file_facts(file: FileDescriptorProto) -> Facts:
    """Everything that a file declares, by its full name."""
    facts: Facts = {file.package: (file.syntax,)}
    for message in file.message_type:
        facts |= message_facts(file.package, message)
    for service in file.service:
        name = f"{file.package}.{service.name}"
        facts[name] = ("service",)
        for rpc in service.method:
            facts[f"{name}.{rpc.name}"] = (
                rpc.input_type,
                rpc.output_type,
                rpc.client_streaming,
                rpc.server_streaming,
            )
    return facts


def published_facts(environment: Environment, module: str) -> Facts:
    """What a package's generated module declares; loaded by its own interpreter."""
    script = f"import sys, {module} as m; sys.stdout.buffer.write(m.DESCRIPTOR.serialized_pb)"
    command = [environment.program("python"), "-c", script]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return file_facts(FileDescriptorProto.FromString(done.stdout))


@pytest.mark.parametrize(
    ("environment", "module", "lacks"),
    [
        pytest.param(
            KSERVE, "kserve.protocol.grpc.grpc_predict_v2_pb2", KSERVE_LACKS, id=KSERVE.name
        ),
        pytest.param(TRITONCLIENT, "tritonclient.grpc.service_pb2", set(), id=TRITONCLIENT.name),
    ],
)
def test_what_others_declare_too_is_declared_as_they_do(environment, module, lacks):
    ours = file_facts(FileDescriptorProto.FromString(DESCRIPTOR.serialized_pb))
    theirs = published_facts(environment, module)
    assert ours.keys() - theirs.keys() == lacks
    assert {name: fact for name, fact in ours.items() if name not in lacks} == {
        name: fact for name, fact in theirs.items() if name in ours
    }


def test_mlserver_streams_the_response_that_others_wrap():
    rpc = "inference.GRPCInferenceService.ModelStreamInfer"
    ours = file_facts(FileDescriptorProto.FromString(DESCRIPTOR.serialized_pb))
    theirs = published_facts(MLSERVER, "mlserver.grpc.dataplane_pb2")
    asked, _, *streams = ours[rpc]
    assert theirs[rpc] == (asked, ".inference.ModelInferResponse", *streams)
    assert "inference.ModelStreamInferResponse" not in theirs
