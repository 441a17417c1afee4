"""One Deployment in the cluster: how a test varies it, orders it about and looks at it."""

from pathlib import PurePosixPath

from tests.e2e import objects
from tests.e2e.kubectl import Kubectl, KubectlError, Object, Watch
from tests.support import wait_until

ORDERS = PurePosixPath("/orders")
START_SECONDS = 120  # until a pod is ready: pulling the image, scheduling, two starts


class Scenario:
    """A Deployment and its Service of one name."""

    def __init__(self, kubectl: Kubectl, image: str, name: str) -> None:
        self.name = name
        self._kubectl = kubectl
        self._image = image

    def put(
        self,
        *arguments: str,
        replicas: int = 1,
        patience: int = 600,
        shared_processes: bool = False,
    ) -> None:
        """Makes it so; see `objects.inference`."""
        made = objects.inference(
            self.name,
            *arguments,
            replicas=replicas,
            patience=patience,
            shared_processes=shared_processes,
        )
        self._kubectl.apply(objects.with_image(made, self._image))

    def take_away(self) -> None:
        """Asks for its end."""
        for kind in ("deployment", "service"):
            self._kubectl.delete(kind, self.name)

    def deployment(self) -> Object:
        """The Deployment as it is now."""
        return self._kubectl.get("deployment", self.name)

    def address(self) -> str:
        """The Service's address. Its name would put the cluster's DNS under test too."""
        host = self._kubectl.get("service", self.name)["spec"]["clusterIP"]
        return f"[{host}]:8001" if ":" in host else f"{host}:8001"

    def pods(self) -> dict[str, Object]:
        """Its pods by name, but for those that are ending."""
        found = self._kubectl.found("pods", f"scenario={self.name}")
        return {
            pod["metadata"]["name"]: pod
            for pod in found
            if "deletionTimestamp" not in pod["metadata"]
        }

    def pod(self, name: str) -> Object:
        """One of its pods."""
        return self._kubectl.get("pod", name)

    def ready_pod(self, within: float = START_SECONDS) -> str:
        """The name of its only pod, once that is ready and gets requests."""

        def condition() -> str:
            ready = [name for name, pod in self.pods().items() if objects.is_ready(pod)]
            return ready[0] if len(ready) == 1 and self.serving() == set(ready) else ""

        return wait_until(condition, within)

    def serving(self) -> set[str]:
        """The pods that the Service sends requests to."""
        slices = self._kubectl.found("endpointslices", f"kubernetes.io/service-name={self.name}")
        return {pod for pod, ready in objects.endpoints(slices).items() if ready}

    def watch_pods(self) -> Watch:
        """What its pods pass through."""
        return self._kubectl.watch("pods", f"scenario={self.name}")

    def watch_endpoints(self) -> Watch:
        """What its endpoints pass through."""
        return self._kubectl.watch("endpointslices", f"kubernetes.io/service-name={self.name}")

    def order(self, pod: str, word: str) -> None:
        """Gives a server an order; see workload/server.py."""
        file = str(ORDERS / word)
        self._kubectl.python(pod, "server", f"import pathlib; pathlib.Path({file!r}).touch()")

    def revoke(self, pod: str, word: str) -> None:
        """Takes an order back."""
        file = str(ORDERS / word)
        self._kubectl.python(pod, "server", f"import pathlib; pathlib.Path({file!r}).unlink()")

    def kill_sidecar(self, pod: str) -> None:
        """SIGKILL for the sidecar, from the server's container, of a pod with shared processes."""
        self._kubectl.python(pod, "server", KILL)

    def delete(self, pod: str) -> None:
        """Asks for a pod's end; the Deployment makes another."""
        self._kubectl.delete("pod", pod)

    def complaints(self, pod: str) -> list[str]:
        """What the kubelet's probes had against a pod."""
        return [
            event["message"]
            for event in self._kubectl.found("events")
            if event["involvedObject"].get("name") == pod and event["reason"] == "Unhealthy"
        ]


FIND = """
import os, pathlib, signal

def is_sidecar(folder):
    try:
        words = (folder / "cmdline").read_bytes().split(b"\\0")
    except OSError:
        return False
    return any(word.rsplit(b"/")[-1] == b"sidecar" for word in words[:2])

found = [int(f.name) for f in pathlib.Path("/proc").glob("[0-9]*") if is_sidecar(f)]
"""
KILL = FIND + "[pid] = found\nos.kill(pid, signal.SIGKILL)\n"


def evidence(kubectl: Kubectl) -> str:
    """Pods, events and logs, for whoever has to find out why a test failed."""
    parts = [
        _told("pods", lambda: kubectl.table("pods", "--output=wide")),
        _told("endpointslices", lambda: kubectl.table("endpointslices")),
        _told("events", lambda: kubectl.table("events", "--sort-by=.lastTimestamp")),
    ]
    try:
        pods = kubectl.found("pods")
    except KubectlError as error:
        return "\n".join([*parts, str(error)])
    for pod in pods:
        spec = pod["spec"]
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            who = pod["metadata"]["name"], container["name"]
            earlier = bool(objects.container(pod, container["name"]).get("restartCount"))
            for previous in (True, False) if earlier else (False,):
                title = f"{'earlier ' if previous else ''}log of {who[1]} in {who[0]}"
                parts.append(
                    _told(title, lambda who=who, p=previous: kubectl.logs(*who, previous=p))
                )
    return "\n".join(parts)


def _told(title, tell):
    try:
        text = tell()
    except KubectlError as error:
        text = str(error)
    return f"--- {title}\n{text}"
