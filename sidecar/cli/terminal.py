"""Standard output and standard error of a command: a terminal or a pipe, which may be closed."""

import os
from typing import TextIO

COLUMNS = 80  # of a terminal that does not report its size


def columns(stream: TextIO) -> int:
    """Return the terminal's number of columns."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or COLUMNS
    except OSError:  # it is closed
        return COLUMNS


def write(stream: TextIO | None, text: str) -> None:
    """Write at once, if there is a stream. A stream without a reader is not an error."""
    if stream is None:
        return
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        # The rest would be written again at exit, and change the exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
