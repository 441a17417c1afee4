"""When checks run: in rounds, or on a schedule of their own. All durations are in seconds."""

from collections.abc import Mapping
from typing import NamedTuple


class CheckSchedule(NamedTuple):
    """The schedule of one kind of check.

    period:           from the start of one probe to the start of the next, while it passes.
    recovery_period:  the same while it fails.
    deadline:         the limit for one probe.
    """

    period: float = 5
    recovery_period: float = 1
    deadline: float = 2


class Schedule(NamedTuple):
    """The schedule of all checks of a server.

    rounds:       of the rounds, which run every check without a schedule of its own.
    live_period:  between rounds, ServerLive alone is called at this interval; 0 for never.
    jitter:       the fraction of a period by which probes are spread at random, including the
                  first one.
    concurrency:  the maximum number of probes of a round in flight.
    own:          the schedules of the kinds of checks that the rounds do not run.
    """

    rounds: CheckSchedule = CheckSchedule()
    live_period: float = 0
    jitter: float = 0.1
    concurrency: int = 8
    own: Mapping[str, CheckSchedule] = {}
