"""Applies every rule to files, and removes silenced findings."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from sidecar.config import Settings, load_text
from sidecar.doctor import rules, settings, timing
from sidecar.doctor.documents import Document, Problem, Silence, read
from sidecar.doctor.findings import RULES, Case, Finding
from sidecar.doctor.pods import Pod, pods

__all__ = ["RULES", "Examined", "Report", "examine", "rules"]


SAYS_WHY = "silences nothing without a reason: # sidecar-doctor: ignore IHS006 because ..."


@dataclass(frozen=True, slots=True)
class Examined:
    """A pod with an inference server, its findings and its times."""

    case: Case
    findings: tuple[Finding, ...]
    timing: tuple[timing.Row, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """All findings. `problems`: the documents that were not examined."""

    examined: list[Examined] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def findings(self) -> Iterator[Finding]:
        """All findings."""
        for one in self.examined:
            yield from one.findings

    @property
    def exit_code(self) -> int:
        """0 if there are no findings, 1 for findings, 2 if something could not be read."""
        if any(problem.is_error for problem in self.problems):
            return 2
        return 1 if any(self.findings) else 0


def examine(files: Iterable[tuple[str, bytes]], ignore: Collection[str] = ()) -> Report:
    """Examine manifests. The files, as names and contents, are one stream.

    ignore:  identifiers of findings to leave out.
    """
    report = Report()
    documents: list[Document] = []
    for source, content in files:
        for one in read(source, content):
            if isinstance(one, Problem):
                report.problems.append(one)
            else:
                documents.append(one)
    defaults = load_text({"canary": "auto"}, {})
    for pod in pods(documents):
        if pod.server:
            report.examined.append(_examine(pod, ignore, defaults))
    for document in documents:
        for silence in document.silences:
            if not silence.reason:
                line = document.line + silence.line - 1
                report.problems.append(Problem(document.source, line, SAYS_WHY, is_error=False))
    return report


def _examine(pod: Pod, ignore: Collection[str], defaults: Settings) -> Examined:
    assert pod.server
    sidecar = pod.sidecar
    case = Case(pod, pod.server, sidecar, settings.read(pod, sidecar) if sidecar else None)
    findings = [
        finding
        for identifier, (mistake, rule) in sorted(RULES.items())
        if identifier not in ignore
        for finding in (Finding(mistake, pod, found) for found in rule(case))
        if not _is_silenced(finding)
    ]
    findings.sort(key=lambda finding: (finding.source, finding.line))
    return Examined(case, tuple(findings), tuple(timing.table(case, defaults)), tuple(_notes(case)))


def _notes(case: Case) -> Iterator[str]:
    known = case.server.server
    if case.sidecar is None and known and not known.speaks_oip:
        yield f"{known.name} does not speak the Open Inference Protocol; the sidecar needs it"
    if case.sidecar and case.settings is None and case.read and not case.read.wrong:
        yield "the sidecar's ConfigMap was not among what was read, so its settings are not known"


def _is_silenced(finding: Finding) -> bool:
    document = finding.found.document
    first, last = document.lines(finding.found.path)
    head = document.lines(())[0]
    return any(
        finding.mistake.identifier in silence.identifiers and _covers(silence, first, last, head)
        for silence in document.silences
    )


def _covers(silence: Silence, first: int, last: int, head: int) -> bool:
    """Whether a comment is inside the finding's part, right before it, or at the top."""
    return bool(silence.reason) and (first - 1 <= silence.line <= last or silence.line < head)
