"""The doctor on all of deploy/: nothing is found, and each mistake that is made in it is."""

from io import StringIO

import pytest
from ruamel.yaml import YAML

from tests.deploy.manifests import DEPLOY, EXAMPLES, charts, objects, rendered
from tests.doctor.spoiling import SPOIL, found, parsed, spoilt
from tests.support import require_program

NAMES = [f"examples/{path.parent.name}" for path in sorted(EXAMPLES.glob("*/kustomization.yaml"))]
NAMES += ["pod.yaml", "demo.yaml", "chart"]


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """The manifests by name, as they are used: pasted, built or rendered."""
    import subprocess

    made = {}
    for name in NAMES:
        if name.startswith("examples/"):
            command = [require_program("kubectl"), "kustomize", str(DEPLOY / "kustomize" / name)]
            made[name] = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        elif name == "chart":
            stream = StringIO()
            chart = charts(tmp_path_factory.mktemp("charts")) / "demo"
            YAML().dump_all(objects(rendered(chart)), stream)
            made[name] = stream.getvalue()
        else:
            made[name] = (DEPLOY / name).read_text()
    return made


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_found_in_what_is_published(texts, name):
    assert parsed(texts[name])[1]
    assert found(texts[name]) == []


@pytest.mark.parametrize("way", SPOIL)
@pytest.mark.parametrize("name", NAMES)
def test_a_mistake_that_is_made_in_it_is_found_and_nothing_else(texts, name, way):
    text = spoilt(texts[name], way)
    if text is not None:  # the next test counts those that it cannot have
        assert found(text) == [way]


@pytest.mark.parametrize("name", NAMES)
def test_each_can_have_at_least_thirty_of_the_mistakes(texts, name):
    assert sum(spoilt(texts[name], way) is not None for way in SPOIL) >= 30
