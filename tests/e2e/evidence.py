"""What is known of a broken promise's pods, for whoever has to find out why it was broken."""

from collections.abc import Callable
from functools import partial

import yaml

from tests.e2e import objects
from tests.e2e.kubectl import KubectlError, Object
from tests.e2e.scenario import Scenario


def evidence(scenario: Scenario) -> str:
    """The state of each pod, its events, its logs and what its sidecar says."""
    parts = []
    for pod in scenario.all_pods():
        name = pod["metadata"]["name"]
        parts += [
            _titled(f"state of {name}", partial(_yaml, pod.get("status", {}))),
            _titled(f"/status of {name}", partial(scenario.ask, name, "/status")),
        ]
        for container in ("health", "server"):
            earlier = bool(objects.restarts(pod)[container])
            for previous in (True, False) if earlier else (False,):
                title = f"{'earlier ' if previous else ''}log of {container} in {name}"
                log = partial(scenario.kubectl.logs, name, container, previous=previous, tail=200)
                parts.append(_titled(title, log))
    events = [event_line(event) for event in _events(scenario)]
    return "\n".join([*parts, "--- events", *events])


def _yaml(status: Object) -> str:
    text: str = yaml.safe_dump(status)
    return text


def _events(scenario: Scenario) -> list[Object]:
    """Those of its pods and of what makes them, whose names begin with its own."""
    found = scenario.cluster.now("events")
    own = [one for one in found if one["involvedObject"]["name"].startswith(scenario.name)]
    return sorted(own, key=_when)


def _when(event: Object) -> str:
    return event.get("lastTimestamp") or event.get("eventTime") or ""


def event_line(event: Object) -> str:
    """An event in one line."""
    times = event.get("count", 1)
    return (
        f"{_when(event)} {event['type']} {event['reason']} {event['involvedObject']['name']}: "
        f"{event['message']}{f' ({times} times)' if times > 1 else ''}"
    )


def _titled(title: str, tell: Callable[[], str]) -> str:
    try:
        text = tell()
    except (KubectlError, AssertionError) as error:
        text = str(error)
    return f"--- {title}\n{text}"
