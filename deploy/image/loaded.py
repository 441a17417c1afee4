"""Prints the source of every module that a sidecar at work has loaded, for the image to compile."""

import concurrent.futures.thread  # noqa: F401 - the first request for the page loads it
import importlib
import os
import pkgutil
import signal
import sys
import threading

import sidecar
from sidecar.cli import main

WORKING = 2  # seconds of the demo; some modules are only loaded at their first use

if __name__ == "__main__":
    output, sys.stdout = sys.stdout, sys.stderr
    for module in pkgutil.walk_packages(sidecar.__path__, "sidecar."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
    threading.Timer(WORKING, os.kill, (os.getpid(), signal.SIGTERM)).start()
    if main(["demo", "--http-host=127.0.0.1", "--http-port=0", "--drain-seconds=0"]) != 0:
        sys.exit("the demo does not work")
    # What is compiled into Python itself is never looked for in a file; some of typing has no spec.
    specs = [getattr(module, "__spec__", None) for module in sys.modules.values()]
    sources = {spec.origin for spec in specs if spec and spec.cached and spec.origin}
    print(*sorted(sources), sep="\n", file=output)
