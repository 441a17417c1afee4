"""Each file of deploy/ is one that a cluster, Prometheus or Grafana can read."""

from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.mark.parametrize(
    "file", sorted(DEPLOY.glob("*.yaml")), ids=lambda file: file.relative_to(DEPLOY).as_posix()
)
def test_a_file_to_be_pasted_holds_objects_of_kubernetes(file):
    for document in yaml.safe_load_all(file.read_text()):
        assert {"apiVersion", "kind", "metadata"} <= document.keys()
