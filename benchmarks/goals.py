"""What the benchmarks are to reach, and the table that says what of it they do."""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

# What a benchmark printed: by row, each column's figure.
Rows = Mapping[str, Mapping[str, float]]


class Goal(NamedTuple):
    """One figure and its limit.

    name:       the benchmark.
    row:        of its tables.
    limit:      what the figure may be at most; with `at_least`, at least.
    column:     of the table.
    """

    name: str
    row: str
    limit: float
    column: str = "median"
    at_least: bool = False

    def met_by(self, figure: float) -> bool:
        """Whether it is reached, by the figure as it is shown."""
        shown = float(f"{figure:.3g}")
        return shown >= self.limit if self.at_least else shown <= self.limit


TWO = "to the better of the two"
BARE = "to the bare channel"
IMPORTS = "to the bare imports"
HANDLER = "to the bare handler"
SLOW = "99th percentile"

GOALS = (
    Goal("client", f"is_model_ready, one at a time, CPU: {TWO}", 1.0),
    Goal("client", f"is_model_ready, 32 in flight, CPU: {BARE}", 1.1),
    Goal("client", f"FP32 4 KB, infer: {TWO}", 1.0),
    Goal("client", f"FP32 1 MB, infer: {TWO}", 0.6),
    Goal("client", f"FP32 16 MB, infer: {TWO}", 0.35),
    Goal("client", f"10,000 BYTES, infer: {TWO}", 0.5),
    Goal("client", "stream of 1,000 responses, CPU: to tritonclient's", 1.0),
    Goal("client", f"import, time: {BARE}", 1.3),
    Goal("scale", f"CPU a poll: {BARE}", 1.1),
    Goal("scale", f"a round of 1,000 models: {BARE}", 1.25),
    Goal("scale", "a further model, up to 1,000, KB", 2.0),
    Goal("scale", "a further model, up to 10,000, KB", 2.0),
    Goal("canary", "a further model's canary, KB", 2.0),
    Goal("web", f"/healthz, new connections, a second: {HANDLER}", 0.85, at_least=True),
    Goal("web", f"/healthz, kept alive, a second: {HANDLER}", 0.9, at_least=True),
    Goal("web", "/healthz in the crowd, 99th percentile, ms", 5),
    Goal("web", "/readyz in the crowd, 99th percentile, ms", 5),
    Goal("web", "/readyz while 10,000 models are scraped, slowest, ms", 20),
    Goal("web", "/status of 1,000 models, CPU ms", 20),
    Goal("optional", f"memory: off, {IMPORTS}", 1.12),
    Goal("optional", f"memory: canary and grpc_port, {IMPORTS}", 1.2),
    Goal("canary", "memory, MiB, 1,000 canaries: to none", 1.1),
    Goal("canary", "death to 503, period 2 s, s", 3, "max"),
    Goal("footprint", f"start to the first answer: {IMPORTS}", 1.35),
    Goal("image", "start to the first answer in the image, CPU s", 0.35),
    Goal("reaction", "SIGKILL to /readyz 503, ms", 15),
    Goal("reaction", "SIGKILL to /readyz 503, ms", 50, SLOW),
    Goal("reaction", "port open to /readyz 200 after 5 s, s", 1.3, SLOW),
    Goal("reaction", "SIGSTOP to /readyz 503, s", 7.1, "max"),
    Goal("grpc_health", "transition to the last answer of that server, ms", 10, SLOW),
    Goal("fleet", "every query of the dashboard, now, ms", 1000, "max"),
)


def read(lines: Iterable[str]) -> Rows:
    """The rows of all Markdown tables in the lines."""
    rows: dict[str, dict[str, float]] = {}
    head: list[str] = []
    for line in lines:
        cells = re.findall(r"(?<=\| )[^|]+(?= \|)", line)
        if cells[:1] == ["figure"]:
            head = cells
        elif len(cells) == len(head) > 1 and cells[0] != "---":
            figures = zip(head[1:], map(float, cells[1:]), strict=True)
            rows[cells[0]] = dict(figures)
    return rows


def report(printed: Mapping[str, Rows]) -> str:
    """The table of those goals whose benchmark has run; in bold what is not reached."""
    lines = ["| figure | to reach | measured | by |", "| --- | --- | --- | --- |"]
    for goal in GOALS:
        figure = printed.get(goal.name, {}).get(goal.row, {}).get(goal.column)
        if figure is None:
            continue
        which = "" if goal.column == "median" else f", {goal.column}"
        limit = f"{'at least ' if goal.at_least else ''}{goal.limit:g}"
        shown = f"{figure:.3g}" if goal.met_by(figure) else f"**{figure:.3g}**"
        lines.append(f"| {goal.row}{which} | {limit} | {shown} | {goal.name} |")
    return "\n".join(lines)
