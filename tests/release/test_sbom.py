"""The bill of materials lists what is in the image, and nothing else."""

import json

from packaging.utils import canonicalize_name

import sidecar
from scripts.sbom import bill
from tests.deploy.images import Podman

LIST = """
import importlib.metadata as m, json
print(json.dumps({d.name: d.version for d in m.distributions()}))
"""


def test_it_lists_what_is_in_the_image_and_nothing_else():
    podman = Podman()
    podman.make_image()
    command = ("run", "--rm", "--entrypoint=/opt/sidecar/bin/python3", podman.image, "-c", LIST)
    installed = json.loads(podman(*command).stdout)
    made = bill()
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    main = made["metadata"]["component"]
    listed = {c["name"]: c["version"] for c in [main, *made["components"]]}
    assert {canonicalize_name(k): v for k, v in listed.items()} == {
        canonicalize_name(k): v for k, v in installed.items()
    }
    assert listed["inference-health-sidecar"] == sidecar.__version__
    assert all(c["purl"].startswith("pkg:pypi/") for c in made["components"])
