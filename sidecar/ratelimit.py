"""A token bucket: so many at once, then one for each interval."""

import math


class TokenBucket:
    """Holds up to `capacity` tokens, and starts full. Times are seconds of one clock.

    The interval between two tokens is given with each call, because settings may
    change it. A token that is taken before there is one is owed.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._full_at = -math.inf

    def available_at(self, interval: float) -> float:
        """When the next token is there; -inf while the bucket was never used."""
        return self._full_at - (self._capacity - 1) * interval

    def take(self, now: float, interval: float) -> None:
        """Takes a token."""
        self._full_at = max(self._full_at, now) + interval
