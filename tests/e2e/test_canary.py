"""A server whose worker process is dead or stands still, which only a canary can tell.

Collected as soon as the sidecar has the setting `canary`; see conftest.py.
"""

import signal
import time

from tests.e2e.bounds import REPLACE, SLACK, START
from tests.e2e.promise import promise

PERIOD, TIMEOUT, FAILURES = 2, 2, 2
RESTART_AFTER = FAILURES * (PERIOD + TIMEOUT)
REQUEST = {"inputs": [{"name": "x", "datatype": "INT32", "shape": [1], "data": [1]}]}
SETTINGS = {
    "models": [{"name": "m", "canary": {"request": REQUEST}}],
    "canary_period_seconds": PERIOD,
    "canary_timeout_seconds": TIMEOUT,
    "canary_failure_threshold": FAILURES,
    "canary_success_threshold": 1,
    "canary_restart_after_seconds": RESTART_AFTER,
    "canary_max_restarts_per_hour": 1,
}


@promise("worker", about=200)
def test_a_server_without_its_worker_is_out_restarted_after_proof_and_withheld_beyond_the_budget(
    scenario,
):
    scenario.put(settings=SETTINGS)
    pod = scenario.ready_pod()
    bounds = scenario.bounds
    recovery = bounds.settings["recovery_period_seconds"]

    since = time.monotonic()
    scenario.signal(pod, "worker.py", signal.SIGKILL)
    out = scenario.out(pod, since)
    bound = PERIOD + FAILURES * recovery + bounds.readiness.refused + SLACK
    scenario.record("worker killed to pod out", out - since, bound)
    assert "[-]canary:m failed: error" in scenario.ask(pod, "/readyz")
    assert "[+]model:m ok" in scenario.ask(pod, "/readyz")

    again = scenario.restarted(pod, "server")
    liveness = bounds.server_liveness
    bound += RESTART_AFTER + liveness.refused + liveness.grace + REPLACE
    scenario.record("worker killed to server restarted", again - since, bound)
    back = scenario.back(pod, out)
    scenario.record("server restarted to pod back", back - again, START)

    since = time.monotonic()
    scenario.signal(pod, "worker.py", signal.SIGSTOP)
    out = scenario.out(pod, since)
    bound = PERIOD + FAILURES * TIMEOUT + bounds.readiness.refused + SLACK
    scenario.record("worker stopped to pod out", out - since, bound)
    assert "[-]canary:m failed: timeout" in scenario.ask(pod, "/readyz")
    withheld = "\ninference_restarts_withheld_total 1.0\n"
    scenario.ask(pod, "/metrics", until=withheld, within=bound + 2 * RESTART_AFTER)
    assert scenario.ask(pod, "/healthz").startswith("200 ")
    assert scenario.restarts(pod) == {"server": 1, "health": 0}
