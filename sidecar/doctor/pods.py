"""The pods that documents define, with Kubernetes' defaults."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sidecar.doctor import servers
from sidecar.doctor.containers import Container, is_sidecar
from sidecar.doctor.documents import Document
from sidecar.doctor.nodes import Path, at, items, number, text

# The Kubernetes version whose defaults apply.
KUBERNETES = "1.36"
GRACE_SECONDS = 30

WORKLOADS = {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"}
RUNTIMES = {"ServingRuntime", "ClusterServingRuntime"}
PREDICTOR_FORMATS = ("model", "sklearn", "xgboost", "lightgbm", "pytorch", "triton", "huggingface")


@dataclass(frozen=True, eq=False)
class Pod:
    """A pod template with an inference server, from a workload or from KServe.

    outer:      the path of the pod's spec; None if it is unknown, as for a runtime alone.
    others:     all documents of the stream.
    """

    document: Document
    outer: tuple[Document, Path] | None
    containers: tuple[Container, ...]
    others: tuple[Document, ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """The kind and the name of the object that defines it."""
        return f"{self.document.kind}/{self.document.name}"

    @cached_property
    def sidecar(self) -> Container | None:
        """The sidecar, if it has one."""
        return next((c for c in self.containers if is_sidecar(c)), None)

    @cached_property
    def server(self) -> Container | None:
        """The container with the inference server; next to a sidecar, the first other one."""
        main = [c for c in self.containers if not is_sidecar(c)]
        known = [c for c in main if c.server and (not c.is_init or c.is_native_sidecar)]
        if known:
            return known[0]
        plain = [c for c in main if not c.is_init]
        return plain[0] if plain and self.sidecar and _serves(self.sidecar) else None

    @property
    def spec(self) -> Mapping[str, Any]:
        """The pod's spec."""
        if self.outer is None:
            return {}
        document, path = self.outer
        found = at(document.data, *path)
        return found if isinstance(found, Mapping) else {}

    @property
    def grace(self) -> float:
        """The termination grace period in seconds."""
        return number(self.spec, "terminationGracePeriodSeconds", default=GRACE_SECONDS)

    @property
    def replicas(self) -> int:
        """The minimum number of replicas."""
        if self.document.kind == "InferenceService" or self.document.kind in RUNTIMES:
            document = self.outer[0] if self.outer else self.document
            return int(number(document.data, "spec", "predictor", "minReplicas", default=1))
        return int(number(self.document.data, "spec", "replicas", default=1))

    @property
    def labels(self) -> Mapping[str, Any]:
        """Its labels."""
        if self.outer and self.outer[0].kind == "InferenceService":
            return {"serving.kserve.io/inferenceservice": self.outer[0].name}
        path: tuple[str, ...] = ("metadata", "labels")
        if self.document.kind in WORKLOADS:
            path = ("spec", "template", "metadata", "labels")
        found = at(self.document.data, *path)
        return found if isinstance(found, Mapping) else {}

    def budgets(self) -> list[Document]:
        """The PodDisruptionBudgets that select it."""
        return [d for d in self._around("PodDisruptionBudget") if self._selects(d, "matchLabels")]

    def _around(self, kind: str) -> list[Document]:
        namespace = (self.outer or (self.document, ()))[0].namespace
        return [d for d in self.others if d.kind == kind and d.namespace == namespace]

    def _selects(self, document: Document, *path: str) -> bool:
        wanted = at(document.data, "spec", "selector", *path)
        return isinstance(wanted, Mapping) and all(
            self.labels.get(key) == value for key, value in wanted.items()
        )

    def config_map(self, name: str) -> Mapping[str, Any] | None:
        """Return the data of a ConfigMap of the stream."""
        for document in self._around("ConfigMap"):
            if document.name == name:
                data = at(document.data, "data")
                return data if isinstance(data, Mapping) else None
        return None


def _serves(sidecar: Container) -> bool:
    """Whether the container runs the daemon, not a check that ends."""
    return not {"check", "config", "canary"} & {*sidecar.words}


def pods(documents: Iterable[Document]) -> Iterator[Pod]:
    """Yield every pod template in the documents, with an inference server or without."""
    stream = tuple(documents)
    runtimes = {d.name: d for d in stream if d.kind in RUNTIMES}
    used = set()
    for document in stream:
        if document.kind == "InferenceService":
            runtime = runtimes.get(text(document.data, "spec", "predictor", "model", "runtime"))
            if runtime:
                used.add(runtime.name)
                outer = document, ("spec", "predictor")
                inside = _containers(runtime, ("spec",))
                yield Pod(runtime, outer, inside, stream)
            else:
                yield _of_inference_service(document, stream)
        elif document.kind == "Pod" or document.kind in WORKLOADS:
            path: Path = ("spec",) if document.kind == "Pod" else ("spec", "template", "spec")
            yield Pod(document, (document, path), _containers(document, path), stream)
    for name, runtime in runtimes.items():
        if name not in used:
            yield Pod(runtime, None, _containers(runtime, ("spec",)), stream)


def _of_inference_service(document: Document, stream: tuple[Document, ...]) -> Pod:
    outer: Path = ("spec", "predictor")
    containers = list(_containers(document, outer))
    for key in PREDICTOR_FORMATS:
        raw = at(document.data, *outer, key)
        if isinstance(raw, Mapping):
            form = text(raw, "modelFormat", "name") or key
            runtime = text(raw, "runtime")
            form = next((f for f in servers.FORMATS if f in runtime), form)
            containers.append(Container(document, (*outer, key), raw, format=form))
    return Pod(document, (document, outer), tuple(containers), stream)


def _containers(document: Document, path: Path) -> tuple[Container, ...]:
    found = []
    for key in ("initContainers", "containers"):
        for place, raw in enumerate(items(document.data, *map(str, path), key)):
            if isinstance(raw, Mapping):
                where = (*path, key, place)
                found.append(Container(document, where, raw, is_init=key == "initContainers"))
    return tuple(found)
