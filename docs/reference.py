"""The tables of settings, metrics, reasons and exit codes, as Markdown from the code."""

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import get_args

from prometheus_client.core import Metric
from pydantic.fields import FieldInfo

from sidecar.cli import arguments
from sidecar.config import Settings
from sidecar.config.types import Allowed
from sidecar.core.checks import SERVER_LIVE, SERVER_READY, canary, model_ready
from sidecar.core.reasons import REASONS, Effect, Thresholds
from sidecar.core.repository import Repository
from sidecar.core.snapshot import Policy, Snapshot
from sidecar.core.state import Health
from sidecar.core.target import Server
from sidecar.doctor.examination import RULES
from sidecar.outputs.poll_counter import PollCounter
from sidecar.outputs.process_metrics import Reloads, process_registry
from sidecar.outputs.prometheus import Scrape

# In the README; the others are in docs/settings.md alone.
MAIN = (
    "server_url",
    "grpc_service",
    "models",
    "period_seconds",
    "timeout_seconds",
    "liveness_failure_threshold",
    "readiness_policy",
    "tls_ca_file",
    "bearer_token_file",
    "drain_seconds",
)

READINESS = {
    Effect.SUCCESS: "ready",
    Effect.IMMEDIATE: "fails at once",
    Effect.COUNTED: "counted failure",
    Effect.NONE: "unchanged",
}
LIVENESS = {**READINESS, Effect.SUCCESS: "live"}

EXIT_CODES = {
    1: "the server answered, but is not ready",
    3: "the server is unreachable",
    4: "no answer in time",
}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown; a bar in a cell is escaped."""
    lines = [list(head), *(list(row) for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def default(name: str) -> str:
    """The default of a setting as a person writes it, or as its description says it."""
    said = re.search(r"default: ([^;]+)", Settings.model_fields[name].description or "")
    value = said[1] if said else arguments.default(name)
    return value if said or value == "none" else f"`{value}`"


def meaning(name: str) -> str:
    """What a setting is for, without its default."""
    text = re.sub(r"; default: [^;]+", "", Settings.model_fields[name].description or "")
    starts_with_a_value = re.match(r"\w+:", text)
    return f"{text if starts_with_a_value else text[:1].upper() + text[1:]}."


def allowed(field: FieldInfo) -> str:
    """What a setting takes, in the words of its errors."""
    members = (getattr(member, "__metadata__", ()) for member in get_args(field.annotation))
    return next(m.text for m in chain(field.metadata, *members) if isinstance(m, Allowed))


def main_settings(_: str) -> str:
    """The settings that most pods need."""
    rows = ((f"[`{n}`](docs/settings.md#{n})", default(n), meaning(n)) for n in MAIN)
    return table(("setting", "default", "meaning"), rows)


def settings_table(_: str) -> str:
    """All settings, a line each."""
    rows = ((f"[`{n}`](#{n})", default(n), meaning(n)) for n in Settings.model_fields)
    return table(("setting", "default", "meaning"), rows)


def settings_sections(former: str) -> str:
    """A section for each setting; what follows `<!-- notes -->` in a former section is kept."""
    sections = re.split(r"^### ", former, flags=re.MULTILINE)[1:]
    notes = {
        heading: text.strip()
        for section in sections
        for heading, _, text in [
            (section.partition("\n")[0], *section.partition("<!-- notes -->\n")[1:])
        ]
        if text.strip()
    }
    return "\n\n".join(_section(name, notes.get(name)) for name in Settings.model_fields)


def _section(name: str, notes: str | None) -> str:
    field = Settings.model_fields[name]
    rows = [
        ("default", default(name)),
        ("allowed", allowed(field)),
        ("environment variable", f"`SIDECAR_{name.upper()}`"),
        ("flag", f"`--{name.replace('_', '-')}`"),
    ]
    parts = [f"### {name}", meaning(name), table(("", ""), rows)]
    if notes:
        parts.append(f"<!-- notes -->\n{notes}")
    return "\n\n".join(parts)


def families() -> Iterator[Metric]:
    """Every metric of this project, as a scrape shows it."""
    registry = process_registry(lambda: 0, lambda: 0, Server, Repository, dict)
    Reloads(registry).succeeded(0, {"ca": 0})
    checks = (SERVER_LIVE, SERVER_READY, model_ready("a", "1"), canary("a", "1"))
    health = Health.initial(checks, 0, Thresholds(), Thresholds())
    snapshot = Snapshot(health, 0, Policy(max_age=1))
    counts = PollCounter(lambda: 0).counts()
    for family in Scrape(snapshot, counts, registry).collect():
        if family.name.startswith("inference_"):
            yield family


def metric_name(family: Metric) -> str:
    """The name as it is queried."""
    return family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")


def metric_labels(family: Metric) -> list[str]:
    """The names of the labels, in their order."""
    found = dict.fromkeys(label for sample in family.samples for label in sample.labels)
    names: Iterable[str] = found or getattr(family, "_labelnames", [])
    return [name for name in names if name != "le"]


def metrics(_: str) -> str:
    """Every metric with its type, its labels and its help text."""
    rows = (
        (
            f"`{metric_name(f)}`",
            f.type,
            ", ".join(f"`{n}`" for n in metric_labels(f)),
            f.documentation,
        )
        for f in families()
    )
    return table(("metric", "type", "labels", "meaning"), rows)


def reasons(_: str) -> str:
    """Every reason, what it means and what it does."""
    rows = (
        (
            f"[`{reason}`](#{reason})",
            row.meaning,
            READINESS[row.readiness],
            LIVENESS[row.liveness],
            "no" if row.silences else "yes",
        )
        for reason, row in REASONS.items()
    )
    head = ("reason", "meaning", "for readiness", "for liveness", "models are still asked")
    return table(head, rows)


def exit_codes(_: str) -> str:
    """The exit codes of a check that fails, and the reasons for each."""
    rows = (
        (
            f"`{code}`",
            text,
            ", ".join(f"`{reason}`" for reason, row in REASONS.items() if row.exit_code == code),
        )
        for code, text in EXIT_CODES.items()
    )
    return table(("code", "meaning", "last reason of a check that fails"), rows)


def mistakes(_: str) -> str:
    """A table of the doctor's findings, and a section for each."""
    found = [mistake for _, (mistake, _) in sorted(RULES.items())]
    rows = ((f"[{m.identifier}](#{m.identifier.lower()})", m.severity, m.title) for m in found)
    sections = (
        f"### {m.identifier}\n\n{m.title}. Severity: {m.severity}.\n\n{m.why}\n\n"
        f"*Instead:* {m.instead}"
        for m in found
    )
    return "\n\n".join([table(("finding", "severity", "what is wrong"), rows), *sections])
