"""Everything in deploy/ that a pod comes from, each with the oldest Kubernetes that it is for."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.manifests import (
    COMPONENT,
    DEPLOY,
    EXAMPLES,
    OLDER_COMPONENT,
    SAFE,
    Object,
    charts,
    has_pod,
    has_sidecar,
    kustomize,
    objects,
    parse,
    pod_of,
    rendered,
    with_component,
    workload,
)

# Of the newest fields that are used: none, unhealthyPodEvictionPolicy, native sidecars.
ANY, BUDGET, NATIVE = "", "1.27", "1.29"


@dataclass(frozen=True)
class Source:
    """Objects that are used together, and the oldest Kubernetes that they are for."""

    items: list[Object]
    since: str = NATIVE

    @property
    def pods(self) -> list[Object]:
        """The pods in them that have the sidecar."""
        pods = [pod_of(item) for item in self.items if has_pod(item)]
        return [pod for pod in pods if has_sidecar(pod)]


FILES = sorted(DEPLOY.glob("*.yaml"))
BUILT = sorted(path.parent for path in EXAMPLES.glob("*/kustomization.yaml"))
NAMES = [
    *(path.name for path in FILES),
    *(f"examples/{path.name}" for path in BUILT),
    COMPONENT.name,
    OLDER_COMPONENT.name,
    "chart",
    "chart, plain",
]
# The generated ConfigMap is the user's own where only a component is built.
CONFIG: Object = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "inference-health-sidecar"},
    "data": {"sidecar.yaml": "server_url: localhost:8001\n"},
}


@pytest.fixture(scope="session", params=NAMES)
def source(request, tmp_path_factory) -> Source:
    """Each file, each kustomization, both components and the chart."""
    found = find(request.param, tmp_path_factory.mktemp("source"))
    assert found.pods or request.param == "wait.yaml"
    return found


def find(name: str, folder: Path) -> Source:
    """The source of this name."""
    if name.endswith(".yaml"):
        return Source(parse((DEPLOY / name).read_text()))
    if name.startswith("examples/"):
        items = kustomize(EXAMPLES / name.partition("/")[2])
        plain = any(item["kind"] == "ServingRuntime" for item in items)
        return Source(items, BUDGET if plain else NATIVE)
    if name == "chart":
        return Source(objects(rendered(charts(folder) / "demo")))
    if name == "chart, plain":
        return Source(objects(rendered(including_chart(folder))), ANY)
    older = name == OLDER_COMPONENT.name
    component = OLDER_COMPONENT if older else COMPONENT
    items = with_component(component, folder, workload(**SAFE))
    return Source([*items, CONFIG], ANY if older else NATIVE)


def including_chart(folder: Path) -> Path:
    """A chart of somebody else's that includes the plain container."""
    chart = charts(folder) / "demo"
    template = chart / "templates" / "deployment.yaml"
    text = template.read_text()
    start = text.index("      initContainers:\n")
    end = text.index("      containers:\n")
    container = text[start:end].partition("\n")[2]
    text = text[:start] + text[end:].replace("      volumes:\n", container + "      volumes:\n")
    template.write_text(text)
    values = chart / "values.yaml"
    values.write_text(values.read_text().replace("sidecar:\n", "sidecar:\n  native: false\n"))
    return chart
