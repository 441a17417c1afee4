"""The command line: argv to settings to command to exit code."""

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sidecar.config import Settings

OK, FAILED, BAD_SETTINGS = 0, 1, 2
BUG = os.EX_SOFTWARE  # 70

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SIGNALLED = 128  # a shell's way to tell which signal ended a process

# Seconds within which the settings and their files have to be read.
START_DEADLINE = 60


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command. Returns its exit code: 2 when the settings are bad, 70 after a bug."""
    try:
        return _main(list(sys.argv[1:] if argv is None else argv))
    except Exception:  # noqa: BLE001 # whatever it is, nobody has foreseen it
        traceback.print_exc()
        return BUG


def _main(args: list[str]) -> int:
    if not args or (args[0].startswith("-") and args[0] not in ("-h", "--help", "--version")):
        args.insert(0, "run")
    # The imports below take most of the start, and a process that is PID 1 in
    # its container would not hear SIGTERM before it has a handler.
    _hear_signals(args[0])
    # gRPC's core writes every failed connection to standard error by itself,
    # unless it is told otherwise before it is imported.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    with _importing():
        from sidecar.blocking import BlockingCalls
        from sidecar.cli import arguments
        from sidecar.config import BadSettings, Settings, config_path, load, variable_warnings

    found = arguments.parse(args)
    if "--schema" in found.switches and not found.wrong:
        print(json.dumps(Settings.model_json_schema(), indent=2))
        return OK
    start: Callable[[], Settings] = partial(load, found.settings, found.config)
    if found.command == "demo":
        from sidecar.demo import OWN

        start = partial(load, found.settings, found.config, OWN)
    wrong = found.wrong
    try:
        # A file system that hangs must not keep the process from saying so.
        reading = BlockingCalls("reading the settings and their files", START_DEADLINE)
        settings = reading.wait(start)
    except (BadSettings, TimeoutError) as error:
        wrong = [*wrong, *str(error).splitlines()]
    if wrong:
        for line in wrong:
            print(f"sidecar: {line}", file=sys.stderr)
        return BAD_SETTINGS
    if found.command in ("run", "demo"):
        config = config_path(found.config)
        return _serve(settings, start, config, demo=found.command == "demo")
    for warning in variable_warnings(os.environ):
        print(f"sidecar: {warning}", file=sys.stderr)
    if found.command == "check":
        return _check(settings, float(found.wait), found.output)
    print(settings.as_yaml(), end="")
    return OK


def _hear_signals(command: str) -> None:
    """What signals do until the loop has handlers of its own."""
    code = SIGNALLED if command == "check" else None
    for signum in SIGNALS:
        signal.signal(signum, lambda signum, _: sys.exit(OK if code is None else code + signum))
    if command in ("run", "demo"):  # to which it says: reload the configuration
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _check(settings: "Settings", wait: float, output: str) -> int:
    with _importing():
        from sidecar.cli import check, terminal

    outcome = asyncio.run(check.run(settings, wait, sys.stderr))
    _ignore_signals()
    # The interpreter would look through everything once more before it ends.
    gc.freeze()
    text = outcome.findings if output == "text" else json.dumps(outcome.document) + "\n"
    terminal.write(sys.stdout, text)
    return outcome.code if outcome.signum is None else SIGNALLED + outcome.signum


def _serve(
    settings: "Settings", load: Callable[[], "Settings"], config: Path | None, *, demo: bool
) -> int:
    with _importing(), _without_authorities():
        from sidecar import daemon
        from sidecar.outputs import log
        from sidecar.outputs.http import server

    log.queue_stderr()
    log.configure(settings.log_level, settings.log_format)
    try:
        bound = server.bind(settings.http_host, settings.http_port)
    except server.CannotListen as error:
        print(f"sidecar: {error}", file=sys.stderr)
        return FAILED
    server.allow_many_connections()
    # The page of /metrics is made in a thread beside the loop, which would have to
    # wait for Python's default of 5 ms whenever it wants to go on meanwhile.
    sys.setswitchinterval(0.0002)
    # What was imported stays; to look through it for garbage would take 30 ms each time.
    gc.freeze()
    asyncio.run((daemon.run_demo if demo else daemon.run)(settings, bound, load, config))
    _ignore_signals()
    return OK


@contextlib.contextmanager
def _importing() -> Iterator[None]:
    """For imports: what comes of them stays, and to look through it for garbage takes long."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def _without_authorities() -> Iterator[None]:
    """For the import of aiohttp, whose client parses the machine's whole CA bundle then.

    The client is not used here, and that is a quarter of the instructions of a start.
    """
    names = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _ignore_signals() -> None:
    # The loop has taken its handlers along, and one more signal would be an exit code of its own.
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
