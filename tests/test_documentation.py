"""What the README says is what the code does."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client.core import Metric

from sidecar.cli import BUG, main
from sidecar.config import Settings
from sidecar.core.checks import SERVER_LIVE, Observation
from sidecar.core.reasons import REASONS, Effect, Thresholds
from sidecar.core.rules import ENDPOINTS
from sidecar.core.snapshot import Policy, Snapshot
from sidecar.core.state import CheckState, Probe, Status, step
from sidecar.outputs.poll_counter import PollCounter
from sidecar.outputs.prometheus import Reloads, Scrape, process_registry
from tests.core.folding import initial

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
YAML_BLOCKS = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)


def rows(heading: str) -> list[list[str]]:
    """The rows of the tables under a heading, each a list of cells."""
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_every_setting_is_in_the_table_with_its_default_and_in_its_order():
    named = {None: "none", (): "none", True: "true"}
    special = {
        "max_age_seconds": "3 periods + timeout",
        "http_host": "all interfaces, both families",
        "headers": "none",
    }
    expected = [
        [
            f"`{name}`",
            special.get(name)
            or (
                named[field.default]
                if isinstance(field.default, bool | tuple | None)
                else f"`{field.default}`"
                if isinstance(field.default, str)
                else f"{field.default}"
            ),
        ]
        for name, field in Settings.model_fields.items()
    ]
    assert [row[:2] for row in rows("Settings") if len(row) == 3 and "sidecar" not in row[0]] == (
        expected
    )


def test_every_metric_is_in_the_table_with_its_type_and_labels():
    registry = process_registry(lambda: 0)
    Reloads(registry).succeeded(0, {"ca": 0})
    scrape = Scrape(
        Snapshot(initial(), 0, Policy(max_age=1)), PollCounter(lambda: 0).counts(), registry
    )
    families = {family.name: family for family in scrape.collect()}
    suffix = {"counter": "_total", "info": "_info"}
    expected = {
        family.name + suffix.get(family.type, ""): (family.type, labels(family))
        for family in families.values()
        if family.name.startswith("inference_")
    }
    told = {
        row[0].strip("`"): (row[1], set(filter(None, row[2].split(", "))))
        for row in rows("Metrics")
    }
    assert told == expected


def labels(family: Metric) -> set[str]:
    """The names of a family's labels; every sample has all of them."""
    named = {frozenset(sample.labels) - {"le"} for sample in family.samples}
    (only,) = named
    return set(only)


def moves(status: Status, effect: Effect) -> Iterator[str]:
    """The arrow that an effect, often enough in a row, draws from a status."""
    words = {
        Effect.SUCCESS: "good",
        Effect.IMMEDIATE: "immediate",
        Effect.COUNTED: "counted",
    }
    counts = {1: "1", 2: "success_threshold", 3: "failure_threshold"}
    answer = next(a for a, row in REASONS.items() if effect in (row.liveness, row.readiness))
    probe = Probe.READINESS if REASONS[answer].readiness is effect else Probe.LIVENESS
    state = CheckState(since=0, status=status)
    for times in range(1, 4):
        state = step(state, Observation(SERVER_LIVE, answer, 0, 0), probe, Thresholds(3, 2))
        if state.status is not status:
            yield f"    {status} --> {state.status}: {counts[times]} x {words[effect]}"
            return


def test_the_diagram_is_drawn_from_the_state_machine():
    diagram = README.partition("```mermaid\n")[2].partition("```")[0].splitlines()
    arrows = [arrow for status in Status for effect in Effect for arrow in moves(status, effect)]
    assert diagram == ["stateDiagram-v2", "    [*] --> UNKNOWN", *arrows]


def test_the_answers_and_the_endpoints_are_in_their_tables():
    words = {
        "ready": Effect.SUCCESS,
        "live": Effect.SUCCESS,
        "keeps its status": Effect.NONE,
        "immediate": Effect.IMMEDIATE,
        "counted": Effect.COUNTED,
        "live: it answers": Effect.SUCCESS,
        "live: it refuses": Effect.SUCCESS,
        "-": Effect.SUCCESS,
    }
    told = {r[0].strip("`"): (words[r[2]], words[r[3]]) for r in rows("How it decides")}
    assert told == {a: (row.readiness, row.liveness) for a, row in REASONS.items()}
    assert [row[0].strip("`/") for row in rows("Endpoints")] == [
        *ENDPOINTS,
        "metrics",
        "status",
        "",
    ]


@pytest.fixture
def pod():
    return yaml.safe_load((ROOT / "deploy" / "pod.yaml").read_text())


def test_the_pod_in_the_readme_is_the_one_in_deploy(pod):
    block, _ = YAML_BLOCKS
    assert yaml.safe_load(block) == pod


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


def test_the_init_container_in_the_readme_is_a_part_of_the_one_in_deploy(waiting):
    _, block = YAML_BLOCKS
    (shown,) = yaml.safe_load(block)["initContainers"]
    assert shown == {key: waiting[key] for key in shown}


@pytest.mark.usefixtures("restored_signals")
def test_the_init_container_waits_by_flags_and_variables_that_exist(waiting, monkeypatch, capsys):
    for variable in waiting["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    # What is wrong with any of them is told with what is wrong with this one.
    assert main([*waiting["args"], "--output=xml"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_exit_codes_of_a_check_are_in_their_table():
    told = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[2])) for row in rows("Wait for it")}
    codes = {
        str(code): {answer.value for answer, row in REASONS.items() if row.exit_code == code}
        for code in sorted({row.exit_code for row in REASONS.values()})
    }
    assert told == {"0": set(), "2": set(), "70": set(), "130`, `143": set(), **codes}


def test_a_bug_has_its_exit_code_in_the_table_of_commands():
    codes = {
        row[0].split("`")[1].split()[1]: row[2] for row in rows("Settings") if "sidecar" in row[0]
    }
    assert BUG == 70
    for command in ("run", "check"):
        assert re.search(rf"\b{BUG} a bug", codes[command])
