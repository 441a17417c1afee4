"""How long a call may take."""

import math
from numbers import Real
from typing import Final

from sidecar.client.errors import InvalidInput

# Thirty years.
MAX_TIMEOUT = 1e9


class UseClientDefault:
    """The type of USE_CLIENT_DEFAULT: the timeout that was given to the client."""

    def __repr__(self) -> str:
        return "USE_CLIENT_DEFAULT"


USE_CLIENT_DEFAULT: Final = UseClientDefault()

Timeout = float | None | UseClientDefault


def check_timeout(timeout: object) -> float | None:
    """The deadline in seconds, None for none; InvalidInput for what is neither."""
    if timeout is None:
        return None
    try:
        seconds = float(timeout) if isinstance(timeout, float | Real) else math.nan
    except OverflowError:
        seconds = math.inf
    if math.isnan(seconds):
        # Not shown, because it may be headers in the wrong place.
        kind = type(timeout).__name__
        raise InvalidInput(f"a timeout of type {kind} is neither a number of seconds nor None")
    # Beyond that gRPC's own arithmetic would end the call at once.
    return None if seconds > MAX_TIMEOUT else seconds
