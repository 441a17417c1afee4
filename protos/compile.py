"""Compiles open_inference.proto into the descriptor set and the stub that sidecar/oip/ ships.

Run by `make protos`; tests/oip/test_generated.py runs it again and fails on a difference.
"""

import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).parent
OIP = HERE.parent / "sidecar" / "oip"


def compile_protos() -> dict[Path, bytes]:
    """Every generated file with the content that it should have."""
    with tempfile.TemporaryDirectory() as out:
        code = protoc.main(
            [
                "protoc",
                f"--proto_path={HERE}",
                f"--descriptor_set_out={out}/open_inference.binpb",
                f"--pyi_out={out}",
                "open_inference.proto",
            ]
        )
        if code:
            sys.exit(code)
        return {
            OIP / "open_inference.binpb": Path(out, "open_inference.binpb").read_bytes(),
            OIP / "messages.pyi": Path(out, "open_inference_pb2.pyi").read_bytes(),
        }


if __name__ == "__main__":
    for path, content in compile_protos().items():
        path.write_bytes(content)
        print(f"wrote {path.relative_to(HERE.parent)}")
