"""What is committed is what the compiler makes of protos/ today."""

from protos.compile import compile_protos


def test_the_generated_files_are_fresh():
    stale = [path.name for path, new in compile_protos().items() if path.read_bytes() != new]
    assert stale == [], "run `make protos`"
