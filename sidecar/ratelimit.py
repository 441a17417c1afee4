"""A token bucket: a number of tokens at once, then one per interval."""

import math


class TokenBucket:
    """A bucket of up to `capacity` tokens, full at the start. Times are in seconds of one clock.

    The interval between two tokens is an argument of each call, because settings
    may change it. A token that is taken in advance is owed.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._full_at = -math.inf

    def available_at(self, interval: float) -> float:
        """Return when the next token is available; -inf if none was ever taken."""
        return self._full_at - (self._capacity - 1) * interval

    def take(self, now: float, interval: float) -> None:
        """Take a token."""
        self._full_at = max(self._full_at, now) + interval
