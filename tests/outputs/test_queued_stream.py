"""A stream whose write never blocks, over real pipes."""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from sidecar.outputs.queued_stream import QueuedStream
from tests.support import python, wait_until

LINE = "0123456789" * 9 + "012345678\n"  # a hundred bytes


@dataclass
class Pipe:
    """A pipe, and how many lines were told to be lost on the way into it."""

    reader: int
    writer: int
    lost: list[int]

    def stream(self, max_waiting: int = 1000) -> QueuedStream:
        with os.fdopen(self.writer, "w", encoding="utf-8", closefd=False) as file:
            return QueuedStream(file, max_waiting=max_waiting, notify=self.lost.append)

    def read(self, size: int = 65536) -> bytes:
        """What is in it, if anything is."""
        try:
            return os.read(self.reader, size)
        except BlockingIOError:
            return b""

    def fill(self) -> None:
        """Leaves no room in it."""
        os.set_blocking(self.writer, False)
        try:
            while True:
                os.write(self.writer, b"." * 4096)
        except BlockingIOError:
            os.set_blocking(self.writer, True)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe(*os.pipe(), [])
    os.set_blocking(pipe.reader, False)
    yield pipe
    os.close(pipe.reader)
    os.close(pipe.writer)


def test_what_is_written_arrives_in_its_order(pipe):
    stream = pipe.stream()
    for number in range(100):
        print("line", number, "ä\udc80", file=stream)
    assert stream.drain(10)
    written = pipe.read().decode().splitlines()
    assert written == [f"line {number} ä\\udc80" for number in range(100)]
    assert (stream.dropped, pipe.lost) == (0, [])


def test_lines_that_do_not_fit_are_dropped_counted_and_reported(pipe):
    pipe.fill()
    stream = pipe.stream(max_waiting=10)
    stream.write(LINE)
    wait_until(stream._queue.empty)  # the thread waits for the pipe with it
    for _ in range(25):
        stream.write(LINE)
    assert (stream.dropped, pipe.lost) == (15, [])
    assert not stream.drain(0)
    left = b""
    while left.count(b"\n") < 11:
        left += pipe.read()
    assert left.lstrip(b".").decode() == 11 * LINE
    wait_until(lambda: pipe.lost == [15])
    stream.write("after\n")
    assert stream.drain(10)
    assert pipe.read() == b"after\n"
    assert (stream.dropped, pipe.lost) == (15, [15])


def test_nothing_is_taken_before_half_of_the_queue_is_free(pipe):
    pipe.fill()
    stream = pipe.stream(max_waiting=2000)
    stream.write(LINE)
    wait_until(stream._queue.empty)
    for _ in range(2000):
        stream.write(LINE)
    stream.write("lost\n")
    # The thread writes the first one, and takes a third of the queue.
    read = 0
    while read < 60_000:
        read += len(pipe.read(60_000 - read))
    stream.write("lost as well\n")
    assert stream.dropped == 2
    while not pipe.lost:
        pipe.read()
    assert pipe.lost == [2]
    stream.write("after\n")
    assert stream.dropped == 2


def test_a_pipe_without_a_reader_loses_lines_and_raises_nothing(pipe):
    stream = pipe.stream()
    os.close(pipe.reader)
    stream.write(LINE)
    assert stream.drain(10)
    assert (stream.dropped, pipe.lost) == (1, [])
    pipe.reader = os.dup(pipe.writer)


def test_a_descriptor_that_does_not_block_is_waited_for(pipe):
    pipe.fill()
    stream = pipe.stream()
    os.set_blocking(pipe.writer, False)
    stream.write(LINE)
    assert not stream.drain(0.05)
    while not stream.drain(0.01):
        pipe.read()
    assert stream.dropped == 0


def test_threads_may_write_at_the_same_time(pipe):
    stream = pipe.stream(max_waiting=1000)
    threads = [
        threading.Thread(target=lambda: [stream.write(LINE) for _ in range(100)]) for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stream.drain(10)
    assert pipe.read().decode() == 500 * LINE


@pytest.mark.parametrize(
    ("last", "code", "told"),
    [
        ("print('told', file=sys.stderr)", 0, "told\n"),
        ("warnings.warn('told')", 0, "UserWarning: told"),
        ("logging.getLogger('x').warning('told')", 0, '"msg": "told"'),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("threading.Thread(target=lambda: 1 / 0).start()", 0, "ZeroDivisionError"),
        ("sys.exit('told')", 1, "told\n"),
    ],
)
def test_whatever_is_written_to_standard_error_before_the_end_is_there(last, code, told):
    start = "import logging, sys, threading, warnings; from sidecar.outputs import log;"
    result = python("-c", f"{start} log.queue_stderr(); log.configure('info', 'json'); {last}")
    assert (result.returncode, told in result.stderr) == (code, True)


def test_without_a_standard_error_there_is_nothing_to_queue():
    code = "import sys; sys.stderr = None; from sidecar.outputs import log; log.queue_stderr();"
    result = python("-c", f"{code} print(sys.stderr, log.lines_dropped())")
    assert result.stdout == "None 0\n"
