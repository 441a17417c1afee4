"""The state machine of a check, run to find out how it moves, and drawn."""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from docs.reference import table as markdown
from sidecar.core.checks import SERVER_LIVE, Observation
from sidecar.core.reasons import REASONS, Effect, Thresholds
from sidecar.core.status import CheckState, Probe, Status, step

FAILURE, SUCCESS = 3, 2  # thresholds that tell apart what takes one, success or failure in a row
TIMES = {SUCCESS: "success threshold", FAILURE: "failure threshold"}
KINDS = {
    Effect.SUCCESS: "success",
    Effect.IMMEDIATE: "immediate failure",
    Effect.COUNTED: "counted failure",
}

WIDTH, HEIGHT = 780, 330
BOX_WIDTH, BOX_HEIGHT = 150, 44
# The centre of each status.
PLACES = {
    Status.UNKNOWN: (360, 60),
    Status.SERVING: (110, 260),
    Status.NOT_SERVING: (610, 260),
}
# The line of each move, and the middle of its text.
ARROWS = {
    (Status.UNKNOWN, Status.SERVING): ((300, 82, 135, 236), (100, 140)),
    (Status.UNKNOWN, Status.NOT_SERVING): ((420, 82, 585, 236), (640, 130)),
    (Status.SERVING, Status.NOT_SERVING): ((185, 248, 533, 248), (360, 215)),
    (Status.NOT_SERVING, Status.SERVING): ((535, 272, 187, 272), (360, 296)),
}
LINE = 18


class Move(NamedTuple):
    """What brings a check from one status to another."""

    before: Status
    after: Status
    cause: str


def moves() -> Iterator[Move]:
    """Every move that the state machine makes, by running it."""
    for status in Status:
        for effect in KINDS:
            move = _move(status, effect)
            if move:
                yield move


def _move(status: Status, effect: Effect) -> Move | None:
    answer = next(a for a, row in REASONS.items() if row.readiness is effect)
    state = CheckState(since=0, status=status)
    for times in range(1, FAILURE + 1):
        seen = Observation(SERVER_LIVE, answer, 0, 0)
        state = step(state, seen, Probe.READINESS, Thresholds(FAILURE, SUCCESS))
        if state.status is not status:
            cause = KINDS[effect] if times == 1 else f"{TIMES[times]} x {KINDS[effect]}"
            return Move(status, state.status, cause)
    return None


def table(_: str) -> str:
    """The moves as a table in Markdown."""
    rows = ((f"`{m.before}`", m.cause, f"`{m.after}`") for m in moves())
    return markdown(("status", "after", "becomes"), rows)


def picture() -> str:
    """The moves as an SVG that needs no other file."""
    causes: dict[tuple[Status, Status], list[str]] = defaultdict(list)
    for move in moves():
        causes[move.before, move.after].append(move.cause)
    arrows = (_arrow(pair, lines) for pair, lines in causes.items())
    boxes = (_box(status) for status in Status)
    return "\n".join([HEAD, *arrows, *boxes, "</svg>", ""])


def _box(status: Status) -> str:
    x, y = PLACES[status]
    left, top = x - BOX_WIDTH // 2, y - BOX_HEIGHT // 2
    size = f'width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"'
    return (
        f'<rect x="{left}" y="{top}" {size}/>\n'
        f'<text class="status" x="{x}" y="{y + 5}">{status}</text>'
    )


def _arrow(pair: tuple[Status, Status], lines: list[str]) -> str:
    (x1, y1, x2, y2), (x, y) = ARROWS[pair]
    texts = (f'<text x="{x}" y="{y + n * LINE}">{text}</text>' for n, text in enumerate(lines))
    line = f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" marker-end="url(#tip)"/>'
    return "\n".join([line, *texts])


HEAD = f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" \
aria-label="The three statuses of a check and what moves it from one to another">
<style>
text {{ font: 13px sans-serif; text-anchor: middle; fill: #222 }}
.status {{ font-weight: bold; font-size: 15px }}
rect {{ fill: #e8eefc; stroke: #33508f; stroke-width: 1.5 }}
line {{ stroke: #33508f; stroke-width: 1.5 }}
path {{ fill: #33508f }}
</style>
<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" \
orient="auto"><path d="M0 0 10 5 0 10z"/></marker></defs>
<rect x="0" y="0" width="{WIDTH}" height="{HEIGHT}" style="fill: #fff; stroke: none"/>"""
