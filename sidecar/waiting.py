"""Waits for the first of several."""

import asyncio
from collections.abc import Awaitable


async def first_of(*waited_for: Awaitable[object]) -> None:
    """Wait for the first of these to end, and cancel the others."""
    waiting = [asyncio.ensure_future(each) for each in waited_for]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()
