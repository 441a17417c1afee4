"""The process of a command: its signals before and after the event loop, and one import."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def exit_on_signals(code: int | None) -> None:
    """Ends the process at a signal, until the loop has handlers of its own.

    With this exit code, or with 128 and the signal's number, as a shell has it.
    """

    def leave(signum: int, _: object) -> None:
        sys.exit(signal_code(signum) if code is None else code)

    for signum in SIGNALS:
        signal.signal(signum, leave)


def ignore_signals() -> None:
    """Once the loop has taken its handlers along: one more signal would be another exit code."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)


def signal_code(signum: int) -> int:
    """The exit code of a process that a signal has ended, as a shell has it."""
    return 128 + signum


@contextlib.contextmanager
def without_authorities() -> Iterator[None]:
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
