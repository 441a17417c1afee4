"""What is committed is what the compiler makes of protos/ today."""

import pytest


def test_the_generated_files_are_fresh():
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed (make test has it)")
    from protos.compile import compile_protos

    stale = [path.name for path, content in compile_protos().items() if path.read_bytes() != content]
    assert stale == [], "run `make protos`"
