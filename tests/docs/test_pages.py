"""What the README and the pages say is what the code does."""

import re

import pytest
import yaml

from docs.reference import EXIT_CODES, MAIN
from sidecar.cli import BUG, main
from sidecar.config import Settings
from sidecar.core.reasons import REASONS, Reason
from sidecar.core.rules import ENDPOINTS
from tests.docs.pages import ROOT, blocks, doc, rows, section

README = (ROOT / "README.md").read_text()


def test_the_readme_is_short_and_names_ten_settings():
    assert len(README.splitlines()) <= 180
    assert len(MAIN) == 10
    assert {name for name in MAIN if name not in Settings.model_fields} == set()


def test_the_two_commands_to_begin_with_are_in_the_readme():
    (begin, *_) = blocks(section(README, "Try it"), "sh")
    assert [line.split("  ")[0] for line in begin.splitlines()] == ["make demo", "make test"]


@pytest.mark.parametrize(
    ("text", "heading"),
    [(README, "Endpoints"), (doc("endpoints"), "Endpoints")],
    ids=["README", "page"],
)
def test_the_endpoints_are_in_their_tables(text, heading):
    assert [row[0].strip("`/") for row in rows(text, heading)] == [
        *ENDPOINTS,
        "metrics",
        "status",
        "",
    ]


def test_the_reasons_that_a_person_looks_up_are_all_under_troubleshooting():
    found = re.findall(
        r"`(\w+)`", " ".join(r[0] for r in rows(doc("troubleshooting"), "/readyz fails"))
    )
    assert set(found) == {*Reason, "unknown", "stale"} - {Reason.OK}


def test_every_module_and_folder_is_on_the_page_of_the_architecture():
    layout = doc("architecture")
    package = ROOT / "sidecar"
    apart = ("client", "oip", "demo", "page", "payloads")  # each is named as a folder
    modules = {
        path.name
        for path in package.rglob("*.py")
        if not path.name.startswith("__") and not {*apart} & {*path.parent.parts}
    }
    folders = {
        f"{path.parent.name}/"
        for path in package.rglob("*/__init__.py")
        if not {*apart} & {*path.parent.parent.parts}
    }
    assert {name for name in modules if not re.search(rf"`([a-z]+/)*{name}`", layout)} == set()
    assert {name for name in folders if name not in layout} == set()


@pytest.fixture
def pod():
    return yaml.safe_load((ROOT / "deploy" / "pod.yaml").read_text())


def test_the_pod_that_is_pasted_is_the_one_in_deploy(pod):
    (block,) = blocks(section(doc("install"), "Paste it into a pod"), "yaml")
    assert yaml.safe_load(block) == pod


def test_what_the_readme_shows_of_the_pod_is_a_part_of_it(pod):
    block, _ = blocks(README, "yaml")
    shown = yaml.safe_load(block)
    assert shown.keys() == {"initContainers", "containers"}
    assert is_part(shown, pod["spec"])


def is_part(shown: object, whole: object) -> bool:
    """Whether what is shown stands in the whole as well; lists are compared item by item."""
    if isinstance(shown, dict) and isinstance(whole, dict):
        return all(key in whole and is_part(shown[key], whole[key]) for key in shown)
    if isinstance(shown, list) and isinstance(whole, list):
        return all(any(is_part(item, other) for other in whole) for item in shown)
    return shown == whole


@pytest.mark.parametrize(
    "shown", [{"a": 2}, {"b": 1}, {"a": [1]}, {"list": [{"name": "c"}]}, [], {"list": {}}], ids=str
)
def test_what_is_not_in_the_whole_is_no_part_of_it(shown):
    assert not is_part(shown, {"a": 1, "list": [{"name": "b", "value": 1}]})


def test_the_pod_uses_paths_ports_and_variables_that_exist(pod):
    (sidecar,) = pod["spec"]["initContainers"]
    (server,) = pod["spec"]["containers"]
    port = Settings.model_fields["http_port"].default
    assert [p["containerPort"] for p in sidecar["ports"]] == [port]
    known = {f"SIDECAR_{name.upper()}" for name in Settings.model_fields}
    assert {variable["name"] for variable in sidecar["env"]} <= known
    probes = {
        (container["name"], kind): (probe["httpGet"]["path"], probe["httpGet"]["port"])
        for container in (sidecar, server)
        for kind, probe in container.items()
        if kind.endswith("Probe")
    }
    assert probes == {
        ("health", "startupProbe"): ("/livez", "health"),
        ("health", "livenessProbe"): ("/livez", "health"),
        ("health", "readinessProbe"): ("/readyz", "health"),
        ("server", "startupProbe"): ("/startupz", port),
        ("server", "livenessProbe"): ("/healthz", port),
    }


@pytest.fixture
def waiting():
    """The init container that waits for the models."""
    (container,) = yaml.safe_load((ROOT / "deploy" / "wait.yaml").read_text())["spec"][
        "initContainers"
    ]
    return container


def test_the_init_container_that_is_shown_is_a_part_of_the_one_in_deploy(waiting):
    (block,) = blocks(doc("check"), "yaml")
    (shown,) = yaml.safe_load(block)["initContainers"]
    assert shown == {key: waiting[key] for key in shown}


@pytest.mark.usefixtures("restored_signals")
def test_the_init_container_waits_by_flags_and_variables_that_exist(waiting, monkeypatch, capsys):
    for variable in waiting["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    # What is wrong with any of them is told with what is wrong with this one.
    assert main([*waiting["args"], "--output=xml"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_exit_codes_of_a_check_are_in_their_tables():
    codes = {
        str(code): {answer.value for answer, row in REASONS.items() if row.exit_code == code}
        for code in sorted({row.exit_code for row in REASONS.values()})
    }
    found = rows(doc("check"), "Exit codes")
    table = {
        row[0].strip("`"): set(re.findall(r"`(\w+)`", row[2])) for row in found if len(row) == 3
    }
    assert table == codes
    assert [str(code) for code in EXIT_CODES] == list(codes)
    named = {code for row in found if len(row) == 2 for code in re.findall(r"`(\w+)`", row[0])}
    assert named == {"0", "2", "70", "130", "143", *codes}


def test_a_bug_has_its_exit_code_in_the_table_of_commands():
    codes = {row[0].split("`")[1].split()[1]: row[2] for row in rows(README, "Commands")}
    assert BUG == 70
    for command in ("run", "check"):
        assert re.search(rf"\b{BUG} a bug", codes[command])
