"""A cluster by kubectl: every command that the suite gives, and what comes back, parsed."""

import json
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self

Object = dict[str, Any]

ANSWER_SECONDS = 60  # for a command that waits for nothing in the cluster


class KubectlError(Exception):
    """A command of kubectl failed; the message has the command and its error."""


class Kubectl:
    """kubectl for one namespace of the cluster that KUBECONFIG names."""

    def __init__(self, namespace: str = "default") -> None:
        self.namespace = namespace

    def server_version(self) -> str:
        """The cluster's Kubernetes, as it writes it: v1.36.2."""
        told = json.loads(self._run("version", "--output=json"))
        version: str = told["serverVersion"]["gitVersion"]
        return version

    def apply(self, objects: Sequence[Object]) -> None:
        """Creates the objects, or changes them to be so."""
        whole = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self._run("apply", "--filename=-", given=json.dumps(whole))

    def stored(self, item: Object) -> Object:
        """What the API server would make of an object."""
        options = ("--dry-run=server", "--output=json", "--filename=-")
        stored: Object = json.loads(self._run("apply", *options, given=json.dumps(item)))
        return stored

    def found(self, kind: str, selector: str = "") -> list[Object]:
        """The objects of a kind that have these labels."""
        text = self._run("get", kind, f"--selector={selector}", "--output=json")
        items: list[Object] = json.loads(text)["items"]
        return items

    def get(self, kind: str, name: str) -> Object:
        """One object."""
        found: Object = json.loads(self._run("get", kind, name, "--output=json"))
        return found

    def watch(self, kind: str, changed: Callable[[str, Object], None]) -> "Watch":
        """Calls with the type and object of each change of a kind, the present state first."""
        # With the types: without them a deletion looks like one more change.
        options = ("--watch", "--output-watch-events", "--output=json")
        return Watch(self._command("get", kind, *options), changed)

    def python(self, pod: str, container: str, code: str, within: float = ANSWER_SECONDS) -> str:
        """Runs Python in a container. Returns what it printed."""
        where = (pod, f"--container={container}")
        return self._run("exec", *where, "--", "python", "-c", code, within=within)

    def logs(self, pod: str, container: str, *, previous: bool = False, tail: int = -1) -> str:
        """What a container has written, or the one that was there before it."""
        which = (f"--container={container}", f"--previous={str(previous).lower()}")
        return self._run("logs", pod, *which, f"--tail={tail}")

    def annotate(self, pod: str, annotation: str) -> None:
        """Sets an annotation, given as name=value."""
        self._run("annotate", "pod", pod, "--overwrite", annotation)

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

    def _command(self, *args: str) -> list[str]:
        return ["kubectl", f"--namespace={self.namespace}", *args]

    def _run(self, *args: str, given: str = "", within: float = ANSWER_SECONDS) -> str:
        command = self._command(*args)
        try:
            done = subprocess.run(
                command, input=given, capture_output=True, text=True, timeout=within, check=False
            )
        except subprocess.TimeoutExpired:
            raise KubectlError(f"{shown(command)}: no answer in {within:g} s") from None
        if done.returncode != 0:
            raise KubectlError(f"{shown(command)}: {done.stderr.strip()}")
        return done.stdout


class Watch:
    """A watch that goes on in the background until it is closed."""

    def __init__(self, command: Sequence[str], changed: Callable[[str, Object], None]) -> None:
        self._command = command
        self._changed = changed
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

    def check(self) -> None:
        """Raises an error when the watch has ended by itself."""
        if self._popen.poll() is not None:
            self._errors.seek(0)
            raise KubectlError(f"{shown(self._command)} ended: {self._errors.read().strip()}")

    def _listen(self) -> None:
        assert self._popen.stdout is not None
        for document in documents(self._popen.stdout):
            self._changed(document["type"], document["object"])


def shown(command: Sequence[str]) -> str:
    """A command without the programs in it."""
    return " ".join("..." if "\n" in part else part for part in command)


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
