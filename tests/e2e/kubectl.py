"""A cluster by kubectl: every command that the suite gives, and what comes back, parsed."""

import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

Object = dict[str, Any]

ANSWER_SECONDS = 60  # for a command that waits for nothing in the cluster


class KubectlError(Exception):
    """A command of kubectl failed; the message has the command and what it said."""


class Kubectl:
    """kubectl for one namespace of the cluster that KUBECONFIG names."""

    def __init__(self, namespace: str = "default") -> None:
        self.namespace = namespace

    def server_version(self) -> tuple[int, int]:
        """The cluster's Kubernetes: (1, 34)."""
        told = json.loads(self._run("version", "--output=json"))["serverVersion"]
        # A provider may write the minor version as 34+.
        return int(told["major"]), int(told["minor"].rstrip("+"))

    def apply(self, objects: Sequence[Object]) -> None:
        """Makes the objects so."""
        self._run("apply", "--filename=-", given=json.dumps(as_list(objects)))

    def found(self, kind: str, selector: str = "") -> list[Object]:
        """The objects of a kind that have these labels."""
        text = self._run("get", kind, f"--selector={selector}", "--output=json")
        items: list[Object] = json.loads(text)["items"]
        return items

    def get(self, kind: str, name: str) -> Object:
        """One object."""
        found: Object = json.loads(self._run("get", kind, name, "--output=json"))
        return found

    def watch(self, kind: str, selector: str) -> "Watch":
        """Each state that the objects of a kind with these labels pass through, from now on."""
        return Watch(self._command("get", kind, f"--selector={selector}", *WATCHING))

    def python(self, pod: str, container: str, code: str) -> str:
        """Runs Python in a container; what it printed."""
        where = (pod, f"--container={container}")
        return self._run("exec", *where, "--", "python", "-c", code)

    def logs(self, pod: str, container: str, *, previous: bool = False) -> str:
        """What a container has written, or the one that was there before it."""
        which = [f"--container={container}", f"--previous={str(previous).lower()}"]
        return self._run("logs", pod, *which)

    def delete(self, kind: str, name: str) -> None:
        """Asks for the end of an object and does not wait for it."""
        self._run("delete", kind, name, "--wait=false", "--ignore-not-found")

    def restart(self, deployment: str) -> None:
        """Begins a rolling restart."""
        self._run("rollout", "restart", f"deployment/{deployment}")

    def rolled_out(self, deployment: str, within: int) -> None:
        """Waits until a rollout is complete."""
        which = (f"deployment/{deployment}", f"--timeout={within}s")
        self._run("rollout", "status", *which, within=within + ANSWER_SECONDS)

    def table(self, kind: str, *options: str) -> str:
        """Objects of a kind, as people read them."""
        return self._run("get", kind, *options)

    def _command(self, *args: str) -> list[str]:
        return ["kubectl", f"--namespace={self.namespace}", *args]

    def _run(self, *args: str, given: str | None = None, within: float = ANSWER_SECONDS) -> str:
        command = self._command(*args)
        try:
            done = subprocess.run(
                command,
                # Nothing is asked of whoever sits at the terminal.
                input=given or "",
                capture_output=True,
                text=True,
                timeout=within,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise KubectlError(f"{' '.join(command)}: no answer in {within} s") from None
        if done.returncode != 0:
            raise KubectlError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout


# With the events' names: without them a deletion looks like one more change.
WATCHING = ("--watch", "--output-watch-events", "--output=json")


@dataclass(frozen=True)
class Event:
    """ADDED, MODIFIED or DELETED, the object, and when it was heard of, on this machine."""

    kind: str
    item: Object
    at: float


class Watch:
    """The events of a watch that goes on in the background, in `events`."""

    def __init__(self, command: Sequence[str]) -> None:
        self.events: list[Event] = []
        self._command = command
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 # closed at the end of the watch

    def __enter__(self) -> Self:
        self._popen = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=self._errors, text=True
        )
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._popen.terminate()
        self._popen.wait()
        self._thread.join()
        assert self._popen.stdout is not None
        self._popen.stdout.close()
        self._errors.close()

    def heard(self) -> "list[Event]":
        """What was heard so far; a watch that has ended by itself is an error."""
        if self._popen.poll() is not None:
            self._errors.seek(0)
            raise KubectlError(f"{' '.join(self._command)}: {self._errors.read().strip()}")
        return list(self.events)

    def _listen(self) -> None:
        assert self._popen.stdout is not None
        for document in documents(self._popen.stdout):
            self.events.append(Event(document["type"], document["object"], time.monotonic()))


def documents(lines: Iterable[str]) -> Iterator[Object]:
    """The JSON documents in a stream that has one after the other, each as soon as it is whole."""
    decoder, text = json.JSONDecoder(), ""
    for line in lines:
        text += line
        while text := text.lstrip():
            try:
                document, end = decoder.raw_decode(text)
            except ValueError:
                break  # not whole yet
            text = text[end:]
            yield document


def as_list(objects: Sequence[Object]) -> Object:
    """Several objects as one."""
    return {"apiVersion": "v1", "kind": "List", "items": list(objects)}
