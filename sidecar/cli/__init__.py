"""The command line: parses arguments, loads settings and runs a command.

arguments.py  the flags of each command, and their errors
process.py    signals, and the import of aiohttp
run.py, check.py, canary.py, config.py, demo.py, doctor.py  one command each
terminal.py   standard output and standard error of a command
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar.cli.process import exit_on_signals, without_authorities

if TYPE_CHECKING:
    from sidecar.cli.arguments import Arguments
    from sidecar.config import Settings
    from sidecar.config.files import Loaded

OK, BAD_SETTINGS = 0, 2
BUG = os.EX_SOFTWARE  # 70

DAEMONS = ("run", "demo")

# Seconds for reading the settings and their files.
START_DEADLINE = 60


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 2 if the settings are bad, 70 after a bug."""
    try:
        return _main(list(sys.argv[1:] if argv is None else argv))
    except Exception:  # noqa: BLE001 # any bug
        traceback.print_exc()
        return BUG


def _main(args: list[str]) -> int:
    if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help", "--version")):
        args.insert(0, "run")
    # The imports below take most of the start, and a process with PID 1 in
    # its container would ignore SIGTERM until it has a handler.
    exit_on_signals(None if args[0] in ("check", "canary") else OK)
    if args[0] in DAEMONS:  # for `run` it means: reload the configuration
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # gRPC's core writes every failed connection to standard error,
    # unless this is turned off before the import.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from sidecar.blocking import BlockingCalls
    from sidecar.cli import arguments, config
    from sidecar.config import BadSettings, config_path, load
    from sidecar.config.files import read

    found = arguments.parse(args)
    if found.command == "doctor":
        return _examine(found)
    if "--schema" in found.switches and not found.wrong:
        return config.print_schema()
    own = None
    if found.command == "demo":
        from sidecar.demo import OWN

        own = OWN
    start = partial(load, found.settings, found.config, own)
    wrong = found.wrong
    try:
        # A hanging file system must not prevent the error message.
        reading = BlockingCalls("reading the settings and their files", START_DEADLINE)
        loaded = reading.wait(partial(read, start, config_path(found.config)))
    except (BadSettings, OSError) as error:
        wrong = [*wrong, *str(error).splitlines()]
    if wrong:
        return _refuse(wrong)
    if found.command in DAEMONS:
        return _serve(found.command, loaded, start, config_path(found.config))
    return _once(found, loaded)


def _refuse(wrong: Sequence[str]) -> int:
    print(*(f"sidecar: {line}" for line in wrong), sep="\n", file=sys.stderr)
    return BAD_SETTINGS


def _examine(found: "Arguments") -> int:
    if found.wrong:
        return _refuse(found.wrong)
    from sidecar.cli import doctor

    return doctor.doctor(found.words, found.output, found.ignore)


def _once(found: "Arguments", loaded: "Loaded") -> int:
    from sidecar.config import sources, variable_warnings

    for warning in variable_warnings(os.environ):
        print(f"sidecar: {warning}", file=sys.stderr)
    if found.command == "config":
        from sidecar.cli import config

        return config.print_settings(loaded.settings, sources(found.settings, found.config))
    if found.command == "canary":
        from sidecar.cli import canary

        return canary.canary(loaded, found.words[0], found.save)
    from sidecar.cli import check

    return check.check(loaded, float(found.wait), found.output)


def _serve(
    command: str, loaded: "Loaded", load: "Callable[[], Settings]", config: Path | None
) -> int:
    with without_authorities():
        from sidecar.cli import demo, run

    daemon = demo.run_demo if command == "demo" else run.run
    return run.serve(loaded, load, config, daemon)
