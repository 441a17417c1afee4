"""The token bucket: how many at once, when the next one is there, and what is owed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.ratelimit import TokenBucket


def test_a_full_bucket_gives_its_tokens_at_once():
    bucket = TokenBucket(3)
    for _ in range(3):
        assert bucket.available_at(10) <= 100
        bucket.take(100, 10)
    assert bucket.available_at(10) == 110


def test_a_token_comes_back_each_interval_up_to_the_capacity():
    bucket = TokenBucket(2)
    bucket.take(0, 10)
    bucket.take(0, 10)
    assert bucket.available_at(10) == 10
    bucket.take(10, 10)
    assert bucket.available_at(10) == 20
    bucket.take(1000, 10)
    bucket.take(1000, 10)
    assert bucket.available_at(10) == 1010


def test_a_token_that_is_taken_too_early_is_owed():
    bucket = TokenBucket(1)
    bucket.take(0, 10)
    bucket.take(1, 10)
    assert bucket.available_at(10) == 20


@pytest.mark.parametrize(("interval", "expected"), [(5, 15), (20, 0)])
def test_the_interval_may_change_between_two_calls(interval, expected):
    bucket = TokenBucket(2)
    bucket.take(0, 10)
    bucket.take(0, 10)
    assert bucket.available_at(interval) == expected


class NaiveBucket:
    """Counts tokens, and adds one for each interval that has passed."""

    def __init__(self, capacity: int, interval: int) -> None:
        self.capacity, self.interval = capacity, interval
        self.tokens, self.at = float(capacity), 0.0

    def has_token(self, now: float) -> bool:
        self.tokens = min(self.capacity, self.tokens + (now - self.at) / self.interval)
        self.at = now
        return self.tokens > 1 - 1e-9


@given(st.integers(1, 5), st.sampled_from([1, 4, 16]), st.lists(st.integers(0, 40), max_size=40))
def test_it_gives_what_a_counter_of_tokens_gives(capacity, interval, pauses):
    bucket, naive, now = TokenBucket(capacity), NaiveBucket(capacity, interval), 0
    for pause in pauses:
        now += pause
        has_token = bucket.available_at(interval) <= now
        assert has_token == naive.has_token(now)
        if has_token:
            bucket.take(now, interval)
            naive.tokens -= 1
