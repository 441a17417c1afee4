"""The process of a command: signals before and after the event loop, and the import of aiohttp."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def exit_on_signals(code: int | None) -> None:
    """Exit at a signal, until the event loop has its own handlers.

    The exit code is this one, or 128 plus the signal's number as in a shell.
    """

    def leave(signum: int, _: object) -> None:
        sys.exit(signal_code(signum) if code is None else code)

    for signum in SIGNALS:
        signal.signal(signum, leave)


def ignore_signals() -> None:
    """Ignore signals after the event loop has ended, so that they do not change the exit code."""
    for signum in SIGNALS:
        signal.signal(signum, signal.SIG_IGN)


def signal_code(signum: int) -> int:
    """Return the exit code of a process that was ended by a signal, as in a shell."""
    return 128 + signum


@contextlib.contextmanager
def without_authorities() -> Iterator[None]:
    """Do not load CA certificates while aiohttp is imported; its client parses the whole bundle.

    The client is not used at the start, and this is a quarter of the start's instructions.
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
