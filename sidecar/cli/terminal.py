"""Standard output and error of a command: a terminal or a pipe, which may be gone."""

import os
from typing import TextIO

COLUMNS = 80  # of a terminal that does not know its own size


def columns(stream: TextIO) -> int:
    """How many columns the terminal has."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or COLUMNS
    except OSError:  # it is gone
        return COLUMNS


def write(stream: TextIO | None, text: str) -> None:
    """Writes at once, if there is a stream. A stream without a reader is no failure."""
    if stream is None:
        return
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        # What is left would be written once more at the end, and change the exit code.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
