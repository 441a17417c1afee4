"""Prints the source of every module that a sidecar at work loads, for the image to compile.

The list must not depend on time: two builds are equal to the bit. So nothing runs here. A test of
the image fails when a module is missing.
"""

import importlib.metadata
import importlib.resources
import pkgutil
import sys

import sidecar

MODULES = ("concurrent.futures.thread", "grpc._utilities")  # loaded at their first use

if __name__ == "__main__":
    output, sys.stdout = sys.stdout, sys.stderr
    own = [module.name for module in pkgutil.walk_packages(sidecar.__path__, "sidecar.")]
    for name in (*own, *MODULES):
        if not name.endswith(".__main__"):
            importlib.import_module(name)
    # These load more at their first call: the name of a host, a version, a file of a package.
    "localhost".encode("idna")
    importlib.metadata.version("grpcio")
    importlib.resources.files("sidecar").joinpath("py.typed").read_bytes()
    # What is compiled into Python itself is never looked for in a file; some of typing has no spec.
    specs = [getattr(module, "__spec__", None) for module in sys.modules.values()]
    sources = {spec.origin for spec in specs if spec and spec.cached and spec.origin}
    print(*sorted(sources), sep="\n", file=output)
