"""Blocking calls in daemon threads: what they give, and when they are given up."""

import asyncio
import threading
import time

import pytest

from sidecar.blocking import BlockingCalls
from tests.support import eventually, python

LATE = "reading takes longer than 0.05 s"


async def test_a_call_gives_what_it_returns_or_raises():
    calls = BlockingCalls("reading", 10)
    assert await calls.run(lambda: 1) == 1
    with pytest.raises(ZeroDivisionError):
        await calls.run(lambda: 1 / 0)
    with pytest.raises(TimeoutError, match="its own"):
        await calls.run(lambda: _raise(TimeoutError("its own")))
    assert calls.wait(lambda: 2) == 2
    with pytest.raises(TimeoutError, match="its own"):
        calls.wait(lambda: _raise(TimeoutError("its own")))


def _raise(error: Exception) -> None:
    raise error


async def test_one_that_hangs_is_given_up_and_no_second_one_is_made_before_it_ends():
    calls, end = BlockingCalls("reading", 0.05), threading.Event()
    made: list[int] = []

    def hang() -> None:
        made.append(1)
        end.wait()

    before = threading.active_count()
    for _ in range(3):
        with pytest.raises(TimeoutError, match=LATE):
            await calls.run(hang)
    with pytest.raises(TimeoutError, match=LATE):
        calls.wait(hang)
    assert (len(made), threading.active_count()) == (1, before + 1)
    end.set()
    await eventually(lambda: threading.active_count() == before)
    assert await calls.run(lambda: "again") == "again"


async def test_who_waits_may_go_away():
    calls, end = BlockingCalls("reading", 10), threading.Event()
    before = threading.active_count()
    waiting = asyncio.create_task(calls.run(end.wait))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(TimeoutError):
        await calls.run(lambda: None)
    end.set()
    await eventually(lambda: threading.active_count() == before)
    assert await calls.run(lambda: 3) == 3


async def test_without_a_thread_it_is_an_os_error(monkeypatch):
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    calls = BlockingCalls("reading", 10)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(OSError, match="reading: can't start new thread"):
        await calls.run(lambda: 1)
    monkeypatch.undo()
    assert await calls.run(lambda: 1) == 1


def test_the_exit_does_not_wait_for_one_that_hangs():
    code = (
        "import asyncio, time; from sidecar.blocking import BlockingCalls\n"
        "async def main():\n"
        "    try: await BlockingCalls('reading', 0.05).run(lambda: time.sleep(3600))\n"
        "    except TimeoutError as error: print(error)\n"
        "asyncio.run(main())"
    )
    started = time.monotonic()
    result = python("-c", code)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{LATE}\n", "")
    assert time.monotonic() - started < 20
