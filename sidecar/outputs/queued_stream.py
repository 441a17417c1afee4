"""A text stream whose writes never block: a daemon thread writes, and excess lines are dropped.

A pipe without a reader (a container runtime whose log writer hangs) would block
every write, and with it the event loop and every endpoint.
"""

import io
import os
import select
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TextIO

MAX_WAITING = 10_000  # writes that may wait; one is a log line of a few hundred bytes
CHUNK = 64 * 1024  # bytes per write


class QueuedStream(io.TextIOBase):
    """Replaces a text stream that has a file descriptor.

    max_waiting:  maximum number of writes that wait for the thread.
    notify:       called in the thread with the number of dropped lines when writing works again.

    There is no lock: the garbage collector may run anywhere, and an object that it
    deletes may log.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        max_waiting: int = MAX_WAITING,
        notify: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._fd = stream.fileno()
        self._encoding = stream.encoding
        self._max_waiting = max_waiting
        self._notify = notify
        self._queue: SimpleQueue[bytes | threading.Event] = SimpleQueue()
        self._full = False
        self._refused = 0  # lines
        self._failed = 0
        self._notified = 0
        threading.Thread(target=self._write_all, name="log writer", daemon=True).start()

    @property
    def dropped(self) -> int:
        """The number of lines dropped because the queue was full or a write failed."""
        return self._refused + self._failed

    def write(self, text: str) -> int:
        """Add the text to the queue, or drop it; return at once."""
        # A full queue accepts nothing until half of it is free, so that dropped
        # lines are one gap, and not every other line.
        if self._queue.qsize() >= self._max_waiting:
            self._full = True
        if self._full:
            self._refused += text.count("\n")
        else:
            self._queue.put(text.encode(self._encoding, "backslashreplace"))
        return len(text)

    def drain(self, within: float | None) -> bool:
        """Wait up to this many seconds until everything is written; return whether it is."""
        done = threading.Event()
        self._queue.put(done)
        return done.wait(within)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the replaced stream."""
        return self._encoding

    def fileno(self) -> int:
        """The file descriptor."""
        return self._fd

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(self._fd)

    def writable(self) -> bool:
        """Return True."""
        return True

    def _write_all(self) -> None:
        while True:
            data, drained = self._take()
            rest = self._write(data)
            self._failed += rest.count(b"\n")
            if drained is not None:
                drained.set()
            if self._queue.qsize() <= self._max_waiting // 2:
                self._full = False
            dropped = self.dropped
            if dropped > self._notified and not rest and not self._full:
                self._notify(dropped - self._notified)
                self._notified = dropped

    def _take(self) -> tuple[bytearray, threading.Event | None]:
        """Return the next text to write, and the event to set after it, if any."""
        data, item = bytearray(), self._queue.get()
        try:
            while not isinstance(item, threading.Event):
                data += item
                if len(data) >= CHUNK:
                    return data, None
                item = self._queue.get_nowait()
        except Empty:
            return data, None
        return data, item

    def _write(self, data: bytearray) -> bytearray:
        """Write the data, which may never return; return what could not be written."""
        while data:
            try:
                del data[: os.write(self._fd, data)]
            except (
                BlockingIOError
            ):  # another process that shares the descriptor made it non-blocking
                _wait_writable(self._fd)
            except OSError:  # the reader is gone, or the disk is full
                break
        return data


def _wait_writable(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll()
