"""When checks are asked: in rounds, or by a schedule of their own. All durations in seconds."""

from collections.abc import Mapping
from typing import NamedTuple


class CheckSchedule(NamedTuple):
    """How often a check is asked, and how long an answer may take.

    period:           from the start of one question to the start of the next while all is well.
    recovery_period:  the same while it is not.
    deadline:         within which the answer has to come.
    """

    period: float = 5
    recovery_period: float = 1
    deadline: float = 2


class Schedule(NamedTuple):
    """When the checks of a server are asked.

    rounds:       of the rounds, which ask every check that has no schedule of its own.
    live_period:  between two rounds ServerLive alone is asked so often; 0 is never.
    jitter:       the share of a period by which questions are spread at random, the first
                  one included.
    concurrency:  the questions of a round that may be in flight.
    own:          the schedules of kinds of checks that the rounds leave out.
    """

    rounds: CheckSchedule = CheckSchedule()
    live_period: float = 0
    jitter: float = 0.1
    concurrency: int = 8
    own: Mapping[str, CheckSchedule] = {}
