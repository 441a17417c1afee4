"""How many series a pod has, counted on the real page."""

from prometheus_client.core import Metric

from sidecar.core.checks import SERVER_LIVE, SERVER_READY, Observation, canary, model_ready
from sidecar.core.reasons import Reason, Thresholds
from sidecar.core.repository import Repository
from sidecar.core.snapshot import Policy, Snapshot
from sidecar.core.state import Health
from sidecar.core.target import Server
from sidecar.outputs.poll_counter import PollCounter
from sidecar.outputs.process_metrics import Reloads, process_registry
from sidecar.outputs.prometheus import Scrape
from sidecar.store import HealthStore


def scrape(models: int, canaries: int = 0) -> Scrape:
    """What /metrics has with so many models, of which so many have a canary; all are well."""
    checks = [SERVER_LIVE, SERVER_READY]
    checks += [model_ready(f"model-{n}") for n in range(models)]
    checks += [canary(f"model-{n}") for n in range(canaries)]
    counter = PollCounter(lambda: 1)
    health = Health.initial(checks, 0, Thresholds(), Thresholds())
    store = HealthStore(health, [counter])
    for check in checks:
        store.record(Observation(check, Reason.OK, 1, 0.001))
    registry = process_registry(lambda: 0, lambda: 0, Server, Repository, dict)
    Reloads(registry).succeeded(0, {})
    return Scrape(Snapshot(store.health, 1, Policy(max_age=60)), counter.counts(), registry)


def series(models: int, canaries: int = 0) -> int:
    """How many series that page has."""
    families: list[Metric] = list(scrape(models, canaries).collect())
    return sum(len(family.samples) for family in families)


def parts() -> tuple[int, int, int, int]:
    """Those of every pod, of each model, of every pod with canaries, and of each canary."""
    fixed, model = series(0), series(2) - series(1)
    each = series(2, 2) - series(2, 1)
    return fixed, model, series(1, 1) - series(1) - each, each


def formula(_: str) -> str:
    """The formula, for docs/scale.md."""
    fixed, model, canaries, each = parts()
    return (
        f"- `{fixed} + {model} m` series, and with canaries `{canaries} + {each} c` more\n"
        f"- with 10 models {series(10)}; with 10 models that have canaries {series(10, 10)}; with"
        f" 100 models that have canaries {series(100, 100):,}"
    )
