"""Compiles the protocols into the descriptor sets and the stubs that sidecar/oip/ ships.

Run by `make protos`; tests/oip/test_generated.py runs it again and fails on a difference.
"""

import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).parent
OIP = HERE.parent / "sidecar" / "oip"

# Each protocol with the module that has its messages.
MODULES = {"open_inference": "messages", "grpc_health": "health"}


def compile_protos() -> dict[Path, bytes]:
    """Every generated file with the content that it should have."""
    content = {}
    with tempfile.TemporaryDirectory() as out:
        for protocol, module in MODULES.items():
            code = protoc.main(
                [
                    "protoc",
                    f"--proto_path={HERE}",
                    f"--descriptor_set_out={out}/{protocol}.binpb",
                    f"--pyi_out={out}",
                    f"{protocol}.proto",
                ]
            )
            if code:
                sys.exit(code)
            content[OIP / f"{protocol}.binpb"] = Path(out, f"{protocol}.binpb").read_bytes()
            content[OIP / f"{module}.pyi"] = Path(out, f"{protocol}_pb2.pyi").read_bytes()
    return content


if __name__ == "__main__":
    for path, content in compile_protos().items():
        path.write_bytes(content)
        print(f"wrote {path.relative_to(HERE.parent)}")
