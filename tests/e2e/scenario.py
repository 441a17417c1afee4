"""One workload in the cluster: how a promise varies it, gives it orders and looks at it."""

import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import PurePosixPath
from typing import Any, TypeVar

import pytest
import yaml

from tests.deploy.manifests import pod_of
from tests.e2e import objects
from tests.e2e.bounds import Bounds
from tests.e2e.cluster import Cluster
from tests.e2e.kubectl import Object
from tests.e2e.report import Report, Row
from tests.support import sidecar

T = TypeVar("T")

ORDERS = PurePosixPath("/orders")
PATIENT = 180  # for what is no measurement: pulling the image, scheduling, starting


class Scenario:
    """A workload, its Service and its settings, of one name; and the promise that is shown."""

    bounds: Bounds

    def __init__(
        self, cluster: Cluster, image: str, name: str, promise: str, report: Report
    ) -> None:
        self.cluster = cluster
        self.kubectl = cluster.kubectl
        self.image = image
        self.name = name
        self.may_crash = False  # else CrashLoopBackOff ends the wait
        self._promise = promise
        self._report = report
        self._kind = "Deployment"

    def put(self, *arguments: str, settings: Object | None = None, **shape: Any) -> None:
        """Makes it so; see `objects.Shape`. The settings are added to those of the suite."""
        text = yaml.safe_dump({**objects.SETTINGS, **(settings or {})})
        wanted = objects.Shape(arguments, **shape)
        made = objects.inference(self.name, wanted)
        self._kind = wanted.kind
        self.bounds = Bounds.of(pod_of(made[0]), effective(text))
        self.configure(text)
        self.kubectl.apply(objects.with_image(made, self.image))

    def configure(self, text: str) -> None:
        """Gives its sidecars this settings file."""
        self.kubectl.apply([objects.settings(self.name, text)])

    def take_away(self) -> None:
        """Asks for its end."""
        for kind in (self._kind.lower(), "service"):
            self.kubectl.delete(kind, self.name)

    def record(self, what: str, measured: float, bound: float, unit: str = "s") -> None:
        """Puts a measurement into the report. More than the bound is a failure."""
        row = Row(self._promise, what, measured, bound, unit)
        self._report.add(row)
        assert row.kept, f"{what}: {measured:.4g} {unit}, and the bound is {bound:.4g} {unit}"

    def wait(self, condition: Callable[[], T], within: float = PATIENT) -> T:
        """The first true value of a condition; fails at once when a pod cannot run."""

        def checked() -> T:
            if not self.may_crash and (found := self._troubles()):
                pytest.fail("\n".join(found))
            return condition()

        return self.cluster.wait(checked, within)

    def pods(self) -> dict[str, Object]:
        """Its pods by name, but for those that are leaving."""
        return {
            pod["metadata"]["name"]: pod for pod in self.all_pods() if not objects.is_leaving(pod)
        }

    def restarts(self, pod: str) -> dict[str, int]:
        """How often each container of a pod was restarted."""
        return objects.restarts(self.pods()[pod])

    def started(self, pod: str) -> dict[str, str]:
        """When each container of a pod was started, but for those that do not run."""
        states = {name: objects.state(self.pods()[pod], name) for name in ("server", "health")}
        return {name: s["running"]["startedAt"] for name, s in states.items() if "running" in s}

    def serving(self) -> set[str]:
        """The pods that the Service sends requests to."""
        slices = [item for item in self.cluster.now("endpointslices") if self._is_own(item)]
        return {pod for pod, ready in objects.endpoints(slices).items() if ready}

    def ready_pods(self, number: int = 1) -> list[str]:
        """The names of its pods, once there are so many that are ready and get requests."""

        def condition() -> list[str]:
            ready = {name for name, pod in self.pods().items() if objects.is_ready(pod)}
            return sorted(ready) if len(ready) == number and self.serving() == ready else []

        return self.wait(condition)

    def ready_pod(self) -> str:
        """The name of its only pod, once that is ready and gets requests."""
        return self.ready_pods()[0]

    def out(self, pod: str, since: float) -> float:
        """When the pod left the Service after this moment."""
        return self.wait(lambda: self._turned(pod, since, serving=False))

    def back(self, pod: str, since: float) -> float:
        """When the pod came back to the Service after this moment."""
        return self.wait(lambda: self._turned(pod, since, serving=True))

    def restarted(self, pod: str, container: str, times: int = 1) -> float:
        """When the pod's container had been restarted so often, and ran."""

        def condition() -> bool:
            now = self.pods()[pod]
            return objects.restarts(now)[container] == times and "running" in objects.state(
                now, container
            )

        self.wait(condition)
        return time.monotonic()

    def was_killed(self, pod: str, container: str) -> bool:
        """Whether the kubelet said that it kills a container because of its livenessProbe."""
        return any(objects.is_kill(e, pod, container) for e in self.cluster.now("events"))

    def order(self, pod: str, word: str) -> None:
        """Gives a server an order; see workload/server.py."""
        file = str(ORDERS / word)
        self.kubectl.python(pod, "server", f"import pathlib; pathlib.Path({file!r}).touch()")

    def revoke(self, pod: str, word: str) -> None:
        """Takes an order back."""
        file = str(ORDERS / word)
        self.kubectl.python(pod, "server", f"import pathlib; pathlib.Path({file!r}).unlink()")

    def signal(self, pod: str, program: str, signum: signal.Signals) -> None:
        """Sends a signal to `worker.py`, or where processes are shared to `sidecar`."""
        code = FIND + f"[pid] = find({program!r})\nos.kill(pid, {int(signum)})\n"
        self.kubectl.python(pod, "server", code)

    def ask(self, pod: str, path: str, *, until: str = "", within: float = 0) -> str:
        """What the sidecar says, asked from the server's container: `200 ok`.

        With `until` it is asked each half second until that is in the answer.
        """
        code = ASK + f"ask({path!r}, {until!r}, {within})\n"
        answer = self.kubectl.python(pod, "server", code, within + 60)
        assert until in answer, f"{path} after {within:g} s: {answer}"
        return answer

    def all_pods(self) -> list[Object]:
        """Its pods, those that are leaving too."""
        pods = self.cluster.now("pods")
        return [pod for pod in pods if pod["metadata"]["labels"].get("scenario") == self.name]

    def _troubles(self) -> list[str]:
        """Why waiting is no use."""
        refused = [
            condition["message"]
            for deployment in self.cluster.now("deployments")
            if deployment["metadata"]["name"] == self.name
            and (condition := objects.condition(deployment, "ReplicaFailure"))
        ]
        return refused + [text for pod in self.all_pods() for text in objects.troubles(pod)]

    def _is_own(self, endpoint_slice: Object) -> bool:
        labels = endpoint_slice["metadata"]["labels"]
        return bool(labels.get("kubernetes.io/service-name") == self.name)

    def _turned(self, pod: str, since: float, *, serving: bool) -> float:
        """When it began to be so, after this moment; 0 if it has not."""
        for change in list(self.cluster.changes):
            if (
                change.at > since
                and change.kind == "endpointslices"
                and self._is_own(change.item)
                and objects.endpoints([change.item]).get(pod, False) == serving
            ):
                return change.at
        return 0


@cache
def effective(text: str) -> Object:
    """All settings that a settings file leads to."""
    with tempfile.NamedTemporaryFile("w+", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        done: subprocess.CompletedProcess[str] = sidecar("config", SIDECAR_CONFIG=file.name)
    assert done.returncode == 0, done.stderr
    found: Object = yaml.safe_load(done.stdout)
    return found


FIND = """
import os, pathlib

def find(program):
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode().split("\\0")
        except OSError:
            continue
        if program in [word.rpartition("/")[2] for word in words[:2]]:
            yield int(folder.name)
"""
ASK = """
import http.client, time

def ask(path, until, within):
    deadline = time.monotonic() + within
    while True:
        connection = http.client.HTTPConnection("localhost", 9808, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            answer = f"{response.status} {response.read().decode()}"
        except (OSError, http.client.HTTPException) as error:
            answer = repr(error)
        finally:
            connection.close()
        if until in answer or time.monotonic() > deadline:
            return print(answer)
        time.sleep(0.5)
"""
