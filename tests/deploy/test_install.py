"""The three ways into a pod that docs/install.md shows come to the same container, as written."""

import shutil
import subprocess

import helm_python
import pytest
import yaml

from tests.deploy.manifests import (
    DEPLOY,
    Object,
    has_pod,
    objects,
    only,
    parse,
    pod_of,
    rendered,
    settings_text,
    sidecar_of,
    workload,
)
from tests.docs.pages import blocks, doc, section
from tests.support import clean_environment, require_program, sidecar

PAGE = doc("install")
(PASTE,) = blocks(section(PAGE, "Paste it into a pod"), "yaml")
(KUSTOMIZE,) = blocks(section(PAGE, "Kustomize"), "sh")
HELM, TEMPLATE = blocks(section(PAGE, "Helm"), "sh", "")

CHART = """\
apiVersion: v2
name: mine
version: 1.2.3
"""
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: server
spec:
  selector: {matchLabels: {app: server}}
  template:
    metadata: {labels: {app: server}}
    spec:
"""


@pytest.fixture
def folder(tmp_path):
    """A folder of the reader's beside a checkout."""
    shutil.copytree(DEPLOY, tmp_path / "inference-health-sidecar" / "deploy")
    mine = tmp_path / "mine"
    (mine / "templates").mkdir(parents=True)
    return mine


def run(script, folder, last):
    """Runs a block of the page up to its last line, for which there is no cluster here."""
    *lines, final = script.splitlines()
    assert final == last
    shell = ["sh", "-euc", "\n".join(lines)]
    subprocess.run(shell, cwd=folder, env=clean_environment(), check=True, timeout=10)


def pasted(_):
    return parse(PASTE)


def kustomized(folder):
    (folder / "deployment.yaml").write_text(yaml.safe_dump(workload()))
    run(KUSTOMIZE, folder, "kubectl apply -k .")
    command = [require_program("kubectl"), "kustomize", "."]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return parse(done.stdout)


def helmed(folder):
    (folder / "Chart.yaml").write_text(CHART)
    (folder / "templates" / "deployment.yaml").write_text(DEPLOYMENT + TEMPLATE)
    run(HELM, folder, "helm dependency update .")
    helm_python.dependency_update(folder)
    return objects(rendered(folder))


def come_to(way, folder) -> Object:
    """The parts of the pod that are the sidecar's, and the settings in force."""
    items = way(folder)
    (pod,) = map(pod_of, filter(has_pod, items))
    container = sidecar_of(pod)
    environment = {variable["name"]: variable["value"] for variable in container.pop("env")}
    if container.pop("volumeMounts", None):
        file = folder / "settings.yaml"
        file.write_text(settings_text(items, pod))
        environment["SIDECAR_CONFIG"] = str(file)
    container["image"] = container["image"].removeprefix("your-registry/")
    probes = {k: pod["containers"][0][k] for k in ("startupProbe", "livenessProbe", "lifecycle")}
    settings = sidecar("config", **environment)
    assert (settings.returncode, settings.stderr) == (0, "")
    return {"sidecar": container, "server": probes, "settings": parse(settings.stdout)}


@pytest.mark.parametrize("way", [kustomized, helmed])
def test_each_way_on_the_page_comes_to_the_pod_that_is_pasted(way, folder):
    assert come_to(way, folder) == come_to(pasted, folder)


def test_every_way_names_the_readers_own_registry(folder):
    for way in (kustomized, helmed):
        pod = pod_of(only(way(folder), "Deployment"))
        assert sidecar_of(pod)["image"].startswith("your-registry/")
