"""The same calls by our client, KServe's and Triton's, against three real servers."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from sidecar.client import InferenceGRPCClient
from tests.interop import clients
from tests.interop.environments import KSERVE, TRITONCLIENT
from tests.interop.inference_servers import InferenceServer, KServe, MLServer
from tests.interop.tritons import Triton

# The first run installs the servers.
pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]

SIZES = {  # elements, up to 4 MB and below MLServer's limit of 4 MiB
    "FP32": (0, 1, 1000, 1_000_000),
    "INT64": (0, 1, 1000, 500_000),
    "BOOL": (0, 1, 1000, 4_000_000),
    "FP16": (0, 1, 1000, 2_000_000),
    "BYTES": (0, 1, 1000, 300_000),
}
CASES = [
    (datatype, elements, raw)
    for datatype, sizes in SIZES.items()
    for elements in sizes
    for raw in (True, False)
    if raw or datatype != "FP16"  # has no typed form
]


@pytest.fixture(params=[KServe, MLServer, Triton], ids=lambda kind: kind.environment.name)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[InferenceServer]:
    """A real server with a model for each datatype, which gives back what it is given."""
    server: InferenceServer = request.param(tmp_path)
    try:
        server.start(loaded=[datatype.lower() for datatype in SIZES])
        yield server
    finally:
        server.kill()


def outcomes(client: str, server: InferenceServer) -> dict[object, object]:
    """What each case comes to, called by a client in a process and an environment of its own."""
    environments = {"kserve": KSERVE, "tritonclient": TRITONCLIENT}
    python = environments[client].program("python") if client in environments else sys.executable
    done = subprocess.run(
        [python, clients.__file__, client, f"127.0.0.1:{server.port}"],
        input=json.dumps(CASES),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        check=True,
    )
    health = ("live", "ready", "fp32", "missing")
    return dict(zip((*health, *CASES), json.loads(done.stdout.splitlines()[-1]), strict=True))


def test_the_three_clients_come_to_the_same(server):
    ours = outcomes("ours", server)
    expected = {case: clients.digest(clients.array_of(*case[:2])) for case in CASES}
    health = {"live": True, "ready": True, "fp32": True, "missing": server.missing_model}
    assert ours == health | expected
    assert outcomes("kserve", server) == ours
    assert outcomes("tritonclient", server) == ours


@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mutual-tls"])
def test_what_is_wrong_with_tls_stands_in_the_error(pki, other_pki, tmp_path, mutual):
    flags = [
        "--grpc-use-ssl=1",
        f"--grpc-server-cert={pki.cert}",
        f"--grpc-server-key={pki.key}",
    ]
    if mutual:
        flags += ["--grpc-use-ssl-mutual=1", f"--grpc-root-cert={pki.ca}"]
    server = Triton(tmp_path, *flags)
    right: dict[str, Any] = {"use_ssl": True, "root_certificates": str(pki.ca), "retries": 0}
    if mutual:
        right |= {"private_key": str(pki.key), "certificate_chain": str(pki.cert)}
    another = {"private_key": str(other_pki.key), "certificate_chain": str(other_pki.cert)}

    async def ask(**options: Any) -> str:
        async with InferenceGRPCClient(f"localhost:{server.port}", **options) as client:
            try:
                return str(await client.is_model_ready("fp32", timeout=5))
            except grpc.RpcError as error:
                return str(error.details())

    try:
        server.start(loaded=["fp32"])
        told = {
            name: asyncio.run(ask(**options))
            for name, options in {
                "right": right,
                "authority": right | {"root_certificates": str(other_pki.ca)},
                "name": right | {"channel_args": [("grpc.ssl_target_name_override", "other")]},
                "plaintext": {"retries": 0},
                "no certificate": right | {"private_key": None, "certificate_chain": None},
                "another's certificate": right | another,
            }.items()
        }
    finally:
        server.kill()
    assert told["right"] == "True"
    assert "CERTIFICATE_VERIFY_FAILED" in told["authority"]
    assert "Hostname Verification Check failed" in told["name"]
    assert "(plaintext was spoken: does the server want TLS?)" in told["plaintext"]
    none = "(no client certificate was shown: does the server want one?)"
    untrusted = "(does the server trust the client's certificate?)"
    assert (none if mutual else "True") in told["no certificate"]
    assert (untrusted if mutual else "True") in told["another's certificate"]
