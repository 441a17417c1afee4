"""The table of what the suite measured, beside what is promised."""

import threading
from dataclasses import dataclass, field

KEPT, BROKEN, SKIPPED = "kept", "broken", "skipped"


@dataclass(frozen=True)
class Row:
    """One measurement of a promise; the bound is the largest value that keeps it."""

    promise: str
    what: str
    measured: float
    bound: float
    unit: str = "s"

    @property
    def kept(self) -> bool:
        """Whether it is within its bound."""
        return self.measured <= self.bound


@dataclass
class Report:
    """What was measured, how each promise ended, and the evidence of those that were broken."""

    about: str = ""
    rows: list[Row] = field(default_factory=list)
    outcomes: dict[str, tuple[str, str]] = field(default_factory=dict)  # with the reason
    evidence: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, row: Row) -> None:
        """Takes a measurement."""
        with self._lock:
            self.rows.append(row)

    def markdown(self, *, evidence: bool = True) -> str:
        """The report, with or without the evidence."""
        lines = ["# End-to-end report", "", self.about, "", *self._table()]
        for promise, text in sorted(self.evidence.items()) if evidence else ():
            lines += ["", f"## Evidence: {promise}", "", "````", text.rstrip(), "````"]
        return "\n".join(lines) + "\n"

    def _table(self) -> list[str]:
        lines = ["| promise | what | bound | measured | |", "| --- | --- | ---: | ---: | --- |"]
        for promise, (outcome, reason) in sorted(self.outcomes.items()):
            ending = f"{outcome}: {reason}" if reason else outcome
            lines.append(f"| **{_cell(promise)}** | | | | {_cell(ending)} |")
            for row in self.rows:
                if row.promise == promise:
                    verdict = "" if row.kept else BROKEN
                    numbers = f"{row.bound:.4g} {row.unit} | {row.measured:.4g} {row.unit}"
                    lines.append(f"| | {_cell(row.what)} | {numbers} | {verdict} |")
        return lines


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")[:300]
