"""The command line: argv to settings to command to exit code."""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar import __version__

if TYPE_CHECKING:
    from sidecar.settings import Settings

OK, FAILED, BAD_SETTINGS = 0, 1, 2

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SIGNALLED = 128  # a shell's way to tell which signal ended a process
DAY = 86400

# Seconds within which the settings and their files have to be read.
START_DEADLINE = 60

OUTPUTS = ("text", "json")

COMMANDS = {
    "run": "the daemon, until SIGTERM or SIGINT; also without a command",
    "check": "ask once, or until all is ready, print the findings and leave",
    "demo": "the daemon beside a toy server whose models load, fail and recover",
    "config": "validate the settings and print those in force, secrets masked",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command. Returns its exit code: 2 when the settings are bad."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] not in (*COMMANDS, "-h", "--help", "--version"):
        args.insert(0, "run")
    # The imports below take most of the start, and a process that is PID 1 in
    # its container would not hear SIGTERM before it has a handler.
    _hear_signals(args[0])
    # gRPC's core writes every failed connection to standard error by itself,
    # unless it is told otherwise before it is imported.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    with _importing():
        from sidecar.blocking import BlockingCalls
        from sidecar.settings import BadSettings, Settings, config_path, load, unknown_variables

    options = _parser(Settings).parse_args(args)
    if options.command == "config" and options.schema:
        print(json.dumps(Settings.model_json_schema(), indent=2))
        return OK
    flags = _flags(options, Settings)
    wrong = _wrong_options(options)
    try:
        # A file system that hangs must not keep the process from saying so.
        settings = BlockingCalls("reading the settings and their files", START_DEADLINE).wait(
            partial(load, flags, options.config)
        )
    except BadSettings as error:
        wrong += error.lines
    except TimeoutError as error:
        wrong.append(str(error))
    if wrong:
        for line in wrong:
            print(f"sidecar: {line}", file=sys.stderr)
        return BAD_SETTINGS
    if options.command in ("run", "demo"):
        start = partial(load, flags, options.config), config_path(options.config)
        return _serve(settings, *start, demo=options.command == "demo")
    for name in unknown_variables(os.environ):
        print(f"sidecar: {name} is set, but there is no such setting", file=sys.stderr)
    if options.command == "check":
        return _check(settings, float(options.wait), options.output)
    print(settings.as_yaml(), end="")
    return OK


def _hear_signals(command: str) -> None:
    """What signals do until the loop has handlers of its own."""
    code = SIGNALLED if command == "check" else None
    for signum in SIGNALS:
        signal.signal(signum, lambda signum, _: sys.exit(OK if code is None else code + signum))
    if command in ("run", "demo"):  # to which it says: load the settings anew
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _flags(options: argparse.Namespace, settings: "type[Settings]") -> dict[str, str]:
    """The settings that were given as flags; the demo's models are its own."""
    given = {
        name: text
        for name, text in vars(options).items()
        if name in settings.model_fields and text is not None
    }
    if options.command == "demo":
        from sidecar.demo import MODELS

        given["models"] = ",".join(MODELS)
    return given


def _wrong_options(options: argparse.Namespace) -> list[str]:
    """What is wrong with the flags that are no settings, in the words of bad settings."""
    if options.command != "check":
        return []
    wrong = []
    try:
        fits = 0 <= float(options.wait) <= DAY
    except ValueError:
        fits = False
    if not fits:
        wrong.append(f"wait: given {options.wait!r} by --wait; allowed: seconds, from 0 to a day")
    if options.output not in OUTPUTS:
        words = " or ".join(OUTPUTS)
        wrong.append(f"output: given {options.output!r} by --output; allowed: {words}")
    return wrong


def _check(settings: "Settings", wait: float, output: str) -> int:
    with _importing():
        from sidecar import check

    outcome = asyncio.run(check.run(settings, wait, sys.stderr))
    _ignore_signals()
    # The interpreter would look through everything once more before it ends.
    gc.freeze()
    text = outcome.findings if output == "text" else json.dumps(outcome.document) + "\n"
    check.write(sys.stdout, text)
    return outcome.code if outcome.signum is None else SIGNALLED + outcome.signum


def _serve(
    settings: "Settings", load: Callable[[], "Settings"], config: Path | None, *, demo: bool
) -> int:
    with _importing():
        from sidecar import daemon, listener, logs

    logs.queue_stderr()
    logs.configure(settings.log_level, settings.log_format)
    try:
        bound = listener.bind(settings.http_host, settings.http_port)
    except listener.CannotListen as error:
        print(f"sidecar: {error}", file=sys.stderr)
        return FAILED
    listener.allow_many_connections()
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


def _ignore_signals() -> None:
    # The loop has taken its handlers along, and one more signal would be an exit code of its own.
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)


def _parser(settings: "type[Settings]") -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sidecar",
        description="Asks an inference server after its health and tells Kubernetes.",
        epilog="The settings are flags of every command: sidecar run --help",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True)
    for command, meaning in COMMANDS.items():
        sub = commands.add_parser(command, help=meaning, description=meaning, allow_abbrev=False)
        sub.add_argument("--config", metavar="FILE", help="settings file, YAML (SIDECAR_CONFIG)")
        if command == "config":
            sub.add_argument(
                "--schema", action="store_true", help="print their JSON Schema instead"
            )
        if command == "check":
            sub.add_argument(
                "--wait", metavar="SECONDS", default="0", help="wait so long for all to be ready"
            )
            sub.add_argument(
                "--output",
                metavar="|".join(OUTPUTS),
                default=OUTPUTS[0],
                help="the findings as /readyz?verbose prints them, or the document of /status",
            )
        for name, field in settings.model_fields.items():
            sub.add_argument(
                "--" + name.replace("_", "-"),
                metavar="VALUE",
                help=f"{field.description} (default: {field.default})",
            )
    return parser
