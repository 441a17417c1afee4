"""The doctor's report as text, as JSON, and as annotations for GitHub."""

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sidecar import DOCS
from sidecar.doctor.documents import Problem
from sidecar.doctor.examination import Examined, Report
from sidecar.doctor.findings import Finding, Severity
from sidecar.doctor.pods import KUBERNETES

PAGE = f"{DOCS}/doctor.md"
WIDTH = 100


def as_text(report: Report) -> str:
    """Return the report as text."""
    lines = [f"{problem.source}:{problem.line}: {problem.why}" for problem in report.problems]
    for examined in report.examined:
        lines += ["", *_pod(examined)]
    lines += ["", _summary(report)]
    return "\n".join(lines).lstrip("\n") + "\n"


def _pod(examined: Examined) -> Iterator[str]:
    pod, server = examined.case.pod, examined.case.server
    known = server.server.name if server.server else "an inference server"
    beside = "with the sidecar" if examined.case.sidecar else "without the sidecar"
    yield f"{pod.name}: {known} in container {server.name}, {beside}"
    for finding in examined.findings:
        yield ""
        yield from _finding(finding)
    yield ""
    yield f"  How long until (what is not set is as in Kubernetes {KUBERNETES}):"
    width = max(len(row.what) for row in examined.timing)
    yield from (f"    {row.what:{width}}  {row.until}" for row in examined.timing)
    changes = [row for row in examined.timing if row.with_sidecar]
    if changes:
        yield ""
        yield "  With the Inference Health Sidecar (deploy/pod.yaml):"
        yield from (f"    {row.what:{width}}  {row.with_sidecar}" for row in changes)
    for note in examined.notes:
        yield f"  note: {note}"


def _finding(finding: Finding) -> Iterator[str]:
    mistake, container = finding.mistake, finding.found.container
    where = f"{finding.source}:{finding.line}" + (f", container {container}" if container else "")
    yield f"  {mistake.identifier} {mistake.severity}: {mistake.title} ({where})"
    yield from _wrapped(f"{_place(finding)}{finding.found.message}.", "    ")
    yield from _wrapped(f"Why: {mistake.why}", "    ")
    yield from _wrapped(f"Instead: {mistake.instead}", "    ")
    if corrected := finding.corrected():
        yield "    Corrected:"
        yield textwrap.indent(corrected.rstrip("\n"), "      ")
    yield f"    {_page(finding)}"


def _place(finding: Finding) -> str:
    last = finding.found.path[-1] if finding.found.path else ""
    return f"{last}: " if isinstance(last, str) and last not in ("", "spec") else ""


def _wrapped(text: str, indent: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False
    )


def _page(finding: Finding) -> str:
    return f"{PAGE}#{finding.mistake.identifier.lower()}"


def _summary(report: Report) -> str:
    findings = list(report.findings)
    errors = sum(f.mistake.severity is Severity.ERROR for f in findings)
    pods = len(report.examined)
    text = f"{_count(pods, 'pod')} with an inference server: "
    text += f"{_count(errors, 'error')}, {_count(len(findings) - errors, 'warning')}"
    unread = sum(problem.is_error for problem in report.problems)
    return text + (f"; {_count(unread, 'document')} could not be read" if unread else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def as_json(report: Report) -> str:
    """Return the report as one JSON document."""
    document = {
        "kubernetes": KUBERNETES,
        "pods": [_pod_document(examined) for examined in report.examined],
        "problems": [_problem(problem) for problem in report.problems],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _pod_document(examined: Examined) -> dict[str, Any]:
    case = examined.case
    return {
        "name": case.pod.name,
        "namespace": case.pod.document.namespace,
        "server": case.server.server.name if case.server.server else None,
        "container": case.server.name,
        "sidecar": case.sidecar.name if case.sidecar else None,
        "findings": [_finding_document(finding) for finding in examined.findings],
        "how_long_until": [
            {"what": row.what, "until": row.until, "with_sidecar": row.with_sidecar or None}
            for row in examined.timing
        ],
    }


def _finding_document(finding: Finding) -> dict[str, Any]:
    mistake = finding.mistake
    return {
        "id": mistake.identifier,
        "severity": str(mistake.severity),
        "title": mistake.title,
        "message": finding.found.message,
        "why": mistake.why,
        "instead": mistake.instead,
        "file": finding.source,
        "line": finding.line,
        "container": finding.found.container or None,
        "corrected": finding.corrected() or None,
        "page": _page(finding),
    }


def _problem(problem: Problem) -> dict[str, Any]:
    return {
        "file": problem.source,
        "line": problem.line,
        "why": problem.why,
        "error": problem.is_error,
    }


def as_github(report: Report) -> str:
    """Return annotations for a pull request: one workflow command per line."""
    return "".join(f"{line}\n" for line in _annotations(report.problems, list(report.findings)))


def _annotations(problems: Iterable[Problem], findings: Sequence[Finding]) -> Iterator[str]:
    for problem in problems:
        level = "error" if problem.is_error else "notice"
        yield _annotation(level, problem.source, problem.line, "sidecar doctor", problem.why)
    for finding in findings:
        mistake = finding.mistake
        text = f"{finding.found.message}. {mistake.instead} {_page(finding)}"
        title = f"{mistake.identifier} {mistake.title}"
        yield _annotation(str(mistake.severity), finding.source, finding.line, title, text)


def _annotation(level: str, file: str, line: int, title: str, message: str) -> str:
    properties = f"file={_escaped(file, property_=True)},line={line}"
    return f"::{level} {properties},title={_escaped(title, property_=True)}::{_escaped(message)}"


def _escaped(text: str, *, property_: bool = False) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if property_ else text


FORMS = {"text": as_text, "json": as_json, "github": as_github}
