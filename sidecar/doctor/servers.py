"""The inference servers that are recognized, their ports, and what the ports serve."""

import re
from collections.abc import Sequence
from typing import NamedTuple


class Port(NamedTuple):
    """A port of a server: its default, and the flag or variable that changes it."""

    default: int
    flag: str = ""
    variable: str = ""


class Server(NamedTuple):
    """The properties of one inference server, with its defaults.

    pattern:      matches its image's name.
    program:      matches a word of its command line.
    paths:        the paths that its HTTP port answers.
    readiness:    those of them that report readiness.
    has_grpc_health:  whether it serves grpc.health.v1.
    speaks_oip:   whether it speaks the Open Inference Protocol over gRPC.
    model_flags, model_variables:  those with the names of its models.
    exit_seconds: how long it completes requests after SIGTERM.
    live_path, ready_path:  the paths for probes of the server itself.
    """

    name: str
    pattern: str
    program: str
    http: Port
    grpc: Port | None
    others: tuple[int, ...]
    paths: str
    readiness: str
    has_grpc_health: bool = False
    speaks_oip: bool = True
    model_flags: tuple[str, ...] = ()
    model_variables: tuple[str, ...] = ()
    exit_seconds: float = 5
    live_path: str = "/v2/health/live"
    ready_path: str = "/v2/health/ready"


_OIP_PATHS = r"/v2(/.*)?"
_OIP_READY = r"/v2/health/ready|/v2/models/.+/ready"

TRITON = Server(
    "Triton",
    r"tritonserver|pytriton",
    r"tritonserver",
    Port(8000, "--http-port"),
    Port(8001, "--grpc-port"),
    (8002,),
    rf"{_OIP_PATHS}|/metrics",
    _OIP_READY,
    has_grpc_health=True,
    model_flags=("--load-model",),
    exit_seconds=30,
)
MLSERVER = Server(
    "MLServer",
    r"mlserver",
    r"mlserver",
    Port(8080, variable="MLSERVER_HTTP_PORT"),
    Port(8081, variable="MLSERVER_GRPC_PORT"),
    (8082,),
    rf"{_OIP_PATHS}|/metrics|/docs",
    _OIP_READY,
    model_variables=("MLSERVER_MODEL_NAME",),
    exit_seconds=0,
)
KSERVE = Server(
    "KServe",
    r"kserve/|sklearnserver|xgbserver|lgbserver|pmmlserver|paddleserver|huggingfaceserver",
    r"(sklearn|xgb|lgb|pmml|paddle|huggingface)server",
    Port(8080, "--http_port"),
    Port(8081, "--grpc_port"),
    (),
    rf"/|{_OIP_PATHS}|/v1/models(/.*)?|/openai/.*|/metrics|/docs",
    _OIP_READY,
    model_flags=("--model_name",),
)
TORCHSERVE = Server(
    "TorchServe",
    r"torchserve",
    r"torchserve",
    Port(8080),
    Port(7070),
    (8081, 8082, 7071),
    rf"/ping|/predictions/.*|/api-description|/v1/.*|{_OIP_PATHS}",
    r"/v1/models/.+|/v2/models/.+/ready",
    exit_seconds=10,
    live_path="/ping",
    ready_path="/ping",
)
OPENVINO = Server(
    "OpenVINO Model Server",
    r"openvino/model_server|ovms",
    r"ovms",
    Port(0, "--rest_port"),
    Port(9178, "--port"),
    (),
    rf"{_OIP_PATHS}|/v1/.*|/v3/.*|/metrics",
    _OIP_READY,
    model_flags=("--model_name",),
)
VLLM = Server(
    "vLLM",
    r"vllm",
    r"vllm",
    Port(8000, "--port"),
    None,
    (),
    r"/health|/ping|/load|/version|/v1/.*|/metrics",
    r"/v1/models",
    speaks_oip=False,
    exit_seconds=10,
    live_path="/health",
    ready_path="/health",
)
SERVERS = (TRITON, MLSERVER, TORCHSERVE, OPENVINO, VLLM, KSERVE)

# The model formats of KServe whose runtime is not KServe's own server.
FORMATS = {"triton": TRITON, "tensorrt": TRITON, "mlserver": MLSERVER, "vllm": VLLM}
FORMATS |= {"pytorch": TORCHSERVE, "openvino_ir": OPENVINO}


def recognise(image: str, words: Sequence[str]) -> Server | None:
    """Return the server that an image or a command line runs."""
    name = image.rpartition("@")[0] or image
    for server in SERVERS:
        if re.search(server.pattern, name) and "inference-health-sidecar" not in name:
            return server
    for server in SERVERS:
        if any(re.search(rf"(^|[/\s.]){server.program}(\s|$)", word) for word in words):
            return server
    return None
