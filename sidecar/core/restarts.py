"""Whether failing canaries request a restart, and the limit per hour."""

from sidecar.core.canary import Restarts
from sidecar.core.rules import readiness
from sidecar.core.snapshot import Snapshot

HOUR = 3600


def review(snapshot: Snapshot) -> Restarts:
    """Return the restarts as of this snapshot, to be stored in the health.

    A restart is wanted while /readyz fails because of canaries that have failed for too long.
    It is withheld if the maximum number was requested within the last hour.
    """
    health = snapshot.health
    before, rules = health.restarts, health.canaries.rules
    if rules.restart_after == 0 and not (before.wanted or before.withheld):
        return before
    dead = {check.name for check in snapshot.restart_candidates()}
    because = not readiness(snapshot).passing and readiness(snapshot, dead).passing
    if not (dead and because):
        return before._replace(wanted=False, withheld=False)
    if before.wanted:
        return before
    times = tuple(at for at in before.times if snapshot.now - at < HOUR)
    if len(times) < rules.max_restarts_per_hour:
        return Restarts(
            wanted=True,
            times=(*times, snapshot.now),
            requested_total=before.requested_total + 1,
            withheld_total=before.withheld_total,
        )
    withheld_total = before.withheld_total + (not before.withheld)
    return before._replace(withheld=True, times=times, withheld_total=withheld_total)
