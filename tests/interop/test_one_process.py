"""Our messages and client live in one process with those of others, and understand theirs."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.interop.environments import KSERVE, MLSERVER, TRITONCLIENT

# The first run installs the packages.
pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]

MEETING = """
ours = InferRequest("m", [InferInput("x", [2], "FP32", [1, 2])], parameters={"a": 1})
foreign = theirs.ModelInferRequest.FromString(ours.to_bytes())
assert foreign.inputs[0].name == "x" and foreign.parameters["a"].int64_param == 1
assert type(foreign) is not messages.ModelInferRequest
assert InferRequest.from_grpc(foreign) == ours
reply = theirs.ModelInferResponse(model_name="m", raw_output_contents=[b"1234"])
reply.outputs.add(name="x", datatype="FP32", shape=[1])
assert InferResponse.from_grpc(reply).to_grpc().SerializeToString() == reply.SerializeToString()
print("understood")
"""
OURS = "from sidecar.client import *; from sidecar.oip import messages"


@pytest.mark.parametrize("first", ["ours", "theirs"])
@pytest.mark.parametrize(
    ("environment", "package", "module"),
    [
        pytest.param(*case, id=case[0].name)
        for case in (
            (KSERVE, "kserve", "kserve.protocol.grpc.grpc_predict_v2_pb2"),
            (TRITONCLIENT, "tritonclient.grpc", "tritonclient.grpc.service_pb2"),
            (MLSERVER, "mlserver", "mlserver.grpc.dataplane_pb2"),
        )
    ],
)
def test_either_may_be_imported_first(environment, package, module, first):
    theirs = f"import {package}; import {module} as theirs"
    imports = (OURS, theirs) if first == "ours" else (theirs, OURS)
    done = subprocess.run(
        [environment.program("python"), "-c", "\n".join((*imports, MEETING))],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        check=True,
    )
    assert done.stdout == "understood\n"
