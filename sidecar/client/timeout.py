"""The timeout of a call: its type, its default and its validation."""

import math
from numbers import Real
from typing import Final

from sidecar.client.errors import InvalidInput

# Seconds; about thirty years. A longer timeout is no timeout.
MAX_TIMEOUT = 1e9


class UseClientDefault:
    """The type of USE_CLIENT_DEFAULT, which stands for the client's own timeout."""

    def __repr__(self) -> str:
        return "USE_CLIENT_DEFAULT"


USE_CLIENT_DEFAULT: Final = UseClientDefault()

# The timeout of a call: seconds, None for no deadline, or the client's own.
Timeout = float | None | UseClientDefault


def check_timeout(timeout: object) -> float | None:
    """Return the timeout in seconds as a float, or None for no deadline.

    Infinity and numbers above 1e9 are no deadline. Raises InvalidInput if the
    value is neither a number nor None, or is NaN.
    """
    if timeout is None:
        return None
    try:
        seconds = float(timeout) if isinstance(timeout, float | Real) else math.nan
    except OverflowError:
        seconds = math.inf
    if math.isnan(seconds):
        # The value is not shown: it may be headers that were passed in the wrong place.
        kind = type(timeout).__name__
        raise InvalidInput(f"a timeout of type {kind} is neither a number of seconds nor None")
    # With a larger number gRPC's own arithmetic overflows and the call ends at once.
    return None if seconds > MAX_TIMEOUT else seconds
