"""A text stream whose write never blocks: a daemon thread writes, and the rest is dropped.

A pipe that nobody reads (a container runtime whose log writer hangs) stops
whoever writes to it, and with it the event loop and every endpoint.
"""

import io
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import TextIO

ROOM = 4 * 1024 * 1024  # bytes, some 15,000 lines
CHUNK = 64 * 1024  # bytes that are written at once


class QueuedStream(io.TextIOBase):
    """Takes the place of a text stream that has a file descriptor.

    room:      bytes that may wait to be written.
    notify:    is told, in the thread, how many lines were dropped, once there is room again.
    dropped:   how many lines were dropped so far, because there was no room or the
               write failed.
    """

    def __init__(
        self, stream: TextIO, *, room: int = ROOM, notify: Callable[[int], None] = lambda _: None
    ) -> None:
        self.dropped = 0
        self._fd = stream.fileno()
        self._encoding = stream.encoding
        self._room = room
        self._notify = notify
        self._queue: deque[bytes] = deque()
        self._waiting = 0  # bytes
        self._full = False
        self._notified = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._write_all, name="log writer", daemon=True).start()

    def write(self, text: str) -> int:
        """Puts the text into the queue, or drops it; both at once."""
        data = text.encode(self._encoding, "backslashreplace")
        with self._changed:
            # Once it is full nothing is taken until half of it is free, so that
            # what is lost is one gap, and not every other line.
            self._full = self._full or self._waiting + len(data) > self._room
            if self._full:
                self.dropped += text.count("\n")
            else:
                self._queue.append(data)
                self._waiting += len(data)
                self._changed.notify_all()
        return len(text)

    def drain(self, within: float | None) -> bool:
        """Waits until everything is written, so many seconds at most; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting == 0, within)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream whose place it takes."""
        return self._encoding

    def fileno(self) -> int:
        """The file descriptor."""
        return self._fd

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._fd)

    def writable(self) -> bool:
        """It is."""
        return True

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue)
                data = bytearray()
                while self._queue and len(data) < CHUNK:
                    data += self._queue.popleft()
            size, lost = len(data), 0
            rest = self._write(data)
            with self._changed:
                self._waiting -= size
                self._full = self._full and self._waiting > self._room // 2
                self.dropped += rest.count(b"\n")
                if not rest and not self._full:
                    lost, self._notified = self.dropped - self._notified, self.dropped
                self._changed.notify_all()
            if lost:
                self._notify(lost)

    def _write(self, data: bytearray) -> bytearray:
        """Writes it, which may take for ever; what could not be written."""
        while data:
            try:
                del data[: os.write(self._fd, data)]
            except BlockingIOError:  # whoever shares the descriptor has made it non-blocking
                _wait_writable(self._fd)
            except OSError:  # nobody can read it any more, or the disk is full
                break
        return data


def _wait_writable(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll()
