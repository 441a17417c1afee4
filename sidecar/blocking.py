"""Blocking calls in daemon threads, with a deadline: they delay neither the loop nor the exit.

`asyncio.to_thread` is not suitable: the interpreter waits for its threads at
exit, so that a hanging read from a network disk would keep the process alive.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class BlockingCalls:
    """Runs calls for one purpose, one at a time; at most one thread hangs.

    purpose:   what the calls do, for the error message.
    deadline:  seconds for one call.
    """

    def __init__(self, purpose: str, deadline: float) -> None:
        self._purpose = purpose
        self._deadline = deadline
        self._last: Future[Any] | None = None

    async def run(self, call: Callable[[], T]) -> T:
        """Return or raise what the call does. Raises TimeoutError at the deadline.

        Raises TimeoutError at once while an earlier call still hangs. The result of
        a call that ends after the deadline is dropped.
        """
        result = asyncio.wrap_future(self._start(call))
        try:
            await asyncio.wait({result}, timeout=self._deadline)
            if not result.done():
                raise self._too_late()
            return result.result()
        finally:
            result.cancel()

    def wait(self, call: Callable[[], T]) -> T:
        """The same without an event loop."""
        future = self._start(call)
        try:
            error = future.exception(self._deadline)
        except TimeoutError:
            raise self._too_late() from None
        if error is not None:
            raise error
        return future.result()

    def _start(self, call: Callable[[], T]) -> "Future[T]":
        if self._last is not None and not self._last.done():
            raise self._too_late()
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # it cannot be cancelled any more
        try:
            Thread(target=_run, args=(call, future), name=self._purpose, daemon=True).start()
        except RuntimeError as error:  # the limit of processes is reached
            raise OSError(f"{self._purpose}: {error}") from None
        self._last = future
        return future

    def _too_late(self) -> TimeoutError:
        return TimeoutError(f"{self._purpose} takes longer than {self._deadline:g} s")


def _run(call: Callable[[], T], future: "Future[T]") -> None:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 (the caller that waits gets it)
        future.set_exception(error)
    else:
        future.set_result(result)
