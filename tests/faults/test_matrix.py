"""The fault matrix: what happens to a server, and what each endpoint must say and by when."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.faults.world import (
    AT_ONCE,
    NEXT_ROUND,
    RECOVERED,
    SLACK,
    THREE_REFUSALS,
    THREE_TIMEOUTS,
    TIMEOUT,
    Step,
    World,
    world,
)
from tests.peer import Peer

# The 60 s of one row come to more than a test usually may take.
pytestmark = pytest.mark.timeout(180)

BOTH = {"a": True, "b": True}


def turns(what: str, do: Callable[[World], object], **within: float) -> Step:
    """Each endpoint that is named fails within so many seconds; the others never do."""
    return Step(
        what,
        do,
        readyz=503 if "readyz" in within else 200,
        healthz=503 if "healthz" in within else 200,
        within=within,
        hold=2,
    )


def recovers(what: str, do: Callable[[World], object], within: float = RECOVERED) -> Step:
    """The server is ready again within so many seconds; its life was never in doubt."""
    return Step(what, do, readyz=200, within={"readyz": within})


def revives(what: str, do: Callable[[World], object], within: float = RECOVERED) -> Step:
    """The server lives and is ready again within so many seconds."""
    return Step(what, do, readyz=200, within={"readyz": within, "healthz": within})


def unmoved(what: str, do: Callable[[World], object], seconds: float) -> Step:
    """Nothing fails, for so many seconds."""
    return Step(what, do, readyz=200, hold=seconds)


def told(**answers: Any) -> Callable[[World], None]:
    """The server answers so from now on."""
    return lambda w: w.toy.tell(**{"models": BOTH, **answers})


def status(name: str, details: str) -> dict[str, str]:
    """A refusal."""
    return {"status": name, "details": details}


@dataclass(frozen=True)
class Row:
    """A fault: the steps in which it comes and goes."""

    name: str
    steps: tuple[Step, ...]
    flags: tuple[str, ...] = ()
    told: dict[str, Any] = field(default_factory=lambda: {"models": BOTH})
    made: dict[str, Any] = field(default_factory=dict)
    started: bool = True
    unready: bool = False


def killed(w: World) -> None:
    w.toy.kill()


def started(w: World) -> None:
    w.toy.start()


def sent(signum: signal.Signals) -> Callable[[World], None]:
    return lambda w: w.toy.signal(signum)


LOST = {"readyz": AT_ONCE, "healthz": THREE_REFUSALS}
SILENT = {"readyz": THREE_TIMEOUTS, "healthz": THREE_TIMEOUTS}
COUNTED = NEXT_ROUND + THREE_REFUSALS


def outage(seconds: float) -> Row:
    """Killed, and started again after so many seconds."""
    down = replace(turns(f"killed, for {seconds:g} s", killed, **LOST), hold=seconds)
    return Row(f"restarted after {seconds:g} s", (down, revives("started again", started)))


def everything(code: str, details: str) -> Callable[[World], None]:
    """The server answers every call with this status."""
    answer = status(code, details)
    return told(live=answer, ready=answer, models={"a": answer, "b": answer})


def refused(word: str, code: str, details: str, within: float = NEXT_ROUND) -> Row:
    """The server answers everything with a status that proves that it lives."""
    return Row(
        f"{word}: every call is answered {code}, {details}",
        (
            turns("answers so", everything(code, details), readyz=within),
            recovers("answers as before", told()),
        ),
    )


def model(name: str, answer: Any, within: float) -> Row:
    """One model fails while the server and the other model are well."""
    return Row(
        name,
        (
            turns("fails", told(ready=True, models={"a": True, "b": answer}), readyz=within),
            recovers("is well again", told()),
        ),
    )


def taken_over(
    name: str,
    within: float | None,
    sends: bytes = b"",
    *,
    closes: bool = False,
    ready: float = AT_ONCE,
) -> Row:
    """The server is gone, and something else has its port."""
    peers: list[Peer] = []

    def take(w: World) -> None:
        w.toy.kill()
        peers.append(Peer(w.toy.port, sends, closes=closes))

    def give_back(w: World) -> None:
        peers.pop().close()
        w.toy.start()

    return Row(
        f"port taken over by {name}",
        (
            turns("taken", take, readyz=ready, **({} if within is None else {"healthz": within})),
            revives("given back", give_back),
        ),
    )


def flap(w: World) -> None:
    """The one model goes and comes; ends with both well."""
    for _ in range(2):
        w.toy.tell(models={"a": True, "b": False}, ready=True)
        w.sidecar.wait_for("/readyz", 503, within=NEXT_ROUND)
        w.toy.tell(models=BOTH)
        w.sidecar.wait_for("/readyz", 200, within=NEXT_ROUND)


def restart(w: World) -> None:
    w.toy.kill()
    w.toy.start()


def spoil(how: Callable[[bytes], bytes]) -> Callable[[World], None]:
    def do(w: World) -> None:
        w.proxy.spoil = how
        if how is bytes:
            w.proxy.reset()  # what was spoilt before may be half a frame

    return do


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def zeros(data: bytes) -> bytes:
    return bytes(len(data))


def late(seconds: float) -> dict[str, Any]:
    answer = {"after": seconds, "reply": True}
    return {"live": answer, "ready": answer, "models": {"a": answer, "b": answer}}


PATIENT = ("--liveness-failure-threshold=20", "--readiness-failure-threshold=5")
THOUSAND = {f"m{number}": True for number in range(1000)}
# Enough for a thousand questions a round on a busy machine.
MANY = (
    "--models=" + ",".join(THOUSAND),
    "--period-seconds=3",
    "--recovery-period-seconds=1",
    "--concurrency=32",
)
MANY_STALE = 3 * 3 + TIMEOUT + 3
GOAWAYS = {"grpc.max_connection_age_ms": 1000, "grpc.max_connection_age_grace_ms": 500}
MLSERVERS = status("UNKNOWN", "Unexpected <class 'mlserver.errors.ModelNotFound'>: Model b")

ROWS = [
    Row("killed with SIGKILL", (turns("killed", killed, **LOST),)),
    Row("ended with SIGTERM", (turns("SIGTERM", sent(signal.SIGTERM), **LOST),)),
    Row("restarted at once", (recovers("restarted", restart),), PATIENT),
    outage(5),
    outage(60),
    Row(
        "frozen and thawed",
        (
            turns("frozen", sent(signal.SIGSTOP), **SILENT),
            revives("thawed", sent(signal.SIGCONT)),
        ),
    ),
    Row(
        "frozen for less than the threshold",
        (
            unmoved("frozen", sent(signal.SIGSTOP), 0.3),
            unmoved("thawed", sent(signal.SIGCONT), 2),
        ),
        PATIENT,
    ),
    Row(
        "path cut silently and healed",
        (
            turns("cut", lambda w: w.proxy.cut(), **SILENT),
            revives("healed", lambda w: w.proxy.heal()),
        ),
    ),
    Row(
        "path cut silently, its connections forgotten",
        (
            turns("cut", lambda w: w.proxy.cut(), **SILENT),
            revives("healed", lambda w: w.proxy.heal(forget=True), RECOVERED + 2 * TIMEOUT),
        ),
    ),
    Row(
        "connections forgotten and nothing else",
        (unmoved("forgotten", lambda w: w.proxy.heal(forget=True), 4),),
        PATIENT,
    ),
    Row("every connection reset", (recovers("RST", lambda w: w.proxy.reset()),)),
    Row(
        "refused, and accepted again",
        (
            turns("refused", lambda w: w.proxy.close(), **LOST),
            revives("accepted", lambda w: w.proxy.open()),
        ),
    ),
    Row(
        "RST in mid-call",
        (
            unmoved("calls take long", told(**late(0.25)), 2),
            recovers("RST", lambda w: w.proxy.reset()),
        ),
    ),
    Row("GOAWAY each second", (unmoved("for five", lambda _: None, 5),), made={"options": GOAWAYS}),
    Row(
        "zeros on the way back",
        # Which is another protocol to gRPC, and no proof that the server is dead.
        (
            turns("zeros", spoil(zeros), readyz=THREE_TIMEOUTS),
            recovers("clean again", spoil(bytes)),
        ),
    ),
    Row(
        "half of everything on the way back",
        (
            turns("halves", spoil(half), readyz=THREE_TIMEOUTS, healthz=COUNTED + 2 * TIMEOUT),
            revives("whole again", spoil(bytes), RECOVERED + 2 * TIMEOUT),
        ),
    ),
    Row(
        "ServerLive is garbage",
        (
            turns("garbage", told(live={"hex": "ffffff"}), readyz=COUNTED, healthz=COUNTED),
            revives("sense", told()),
        ),
    ),
    model("ModelReady is garbage", {"hex": "ffffff"}, COUNTED),
    model("ModelReady is cut short", {"hex": "0a05"}, COUNTED),
    Row(
        "everything slower than the deadline",
        (turns("slow", told(**late(0.8)), **SILENT), revives("quick", told())),
    ),
    Row("everything slow, within the deadline", (unmoved("slow", told(**late(0.2)), 4),)),
    Row("a model flaps", (recovers("twice down and up", flap),)),
    model("one model hangs", "silence", THREE_TIMEOUTS + TIMEOUT),
    model("one model is not ready", False, NEXT_ROUND),
    model("one model is gone", "NOT_FOUND", NEXT_ROUND),
    model("one model is gone, as MLServer says it", MLSERVERS, NEXT_ROUND),
    model("one model raises", "INTERNAL", COUNTED),
    Row(
        "ServerReady says no, and is required",
        (turns("no", told(ready=False), readyz=NEXT_ROUND), recovers("yes", told())),
        flags=("--require-server-ready=true",),
    ),
    Row(
        "ServerReady says no, and the models are ready",
        (unmoved("no", told(ready=False), 4), unmoved("yes", told(), 2)),
    ),
    Row(
        "ServerLive says no",
        (
            turns("no", told(live=False), readyz=NEXT_ROUND, healthz=COUNTED),
            revives("yes", told()),
        ),
    ),
    refused("shutting_down", "UNAVAILABLE", "Server exiting"),
    refused("denied", "UNAVAILABLE", "This protocol is restricted, expecting header 'x'"),
    refused("denied", "UNAUTHENTICATED", "no token"),
    refused("denied", "PERMISSION_DENIED", "not you"),
    refused("unimplemented", "UNIMPLEMENTED", "Method not found!"),
    refused("rejected", "UNAVAILABLE", "the model pool is warming up", COUNTED),
    refused("rejected", "CANCELLED", "by the server", COUNTED),
    refused("rejected", "ABORTED", "by the server", COUNTED),
    refused("rejected", "FAILED_PRECONDITION", "by the server", COUNTED),
    refused("rejected", "OUT_OF_RANGE", "by the server", COUNTED),
    Row(
        "busy: every call is answered RESOURCE_EXHAUSTED, for six seconds",
        (
            unmoved("overload", everything("RESOURCE_EXHAUSTED", "no thread is free"), 6),
            unmoved("answers as before", told(), 1),
        ),
    ),
    Row(
        "busy since before the sidecar started",
        (
            Step("overload", lambda _: None, readyz=503, hold=4),
            recovers("answers as before", told()),
        ),
        told={
            "live": status("RESOURCE_EXHAUSTED", "no thread is free"),
            "ready": status("RESOURCE_EXHAUSTED", "no thread is free"),
            "models": dict.fromkeys(BOTH, status("RESOURCE_EXHAUSTED", "no thread is free")),
        },
        unready=True,
    ),
    Row(
        "model_not_found with a text of 20 KB",
        (
            turns(
                "gone",
                told(ready=True, models={"a": True, "b": status("NOT_FOUND", "x" * 20_000)}),
                readyz=NEXT_ROUND,
            ),
            recovers("is well again", told()),
        ),
    ),
    taken_over("an HTTP/1 server", None, b"HTTP/1.1 400 Bad\r\n\r\n", closes=True),
    taken_over("a peer that greets", None, b"220 mail.example ESMTP\r\n"),
    taken_over("a peer that never speaks", SILENT["healthz"] + 2 * TIMEOUT, ready=THREE_TIMEOUTS),
    taken_over("a peer that just closes", SILENT["healthz"], closes=True),
    Row(
        "started before its server",
        (
            Step(
                "alone",
                lambda _: None,
                readyz=503,
                healthz=503,
                within={"healthz": THREE_REFUSALS},
                hold=1.5,
            ),
            revives("the server starts", started),
        ),
        started=False,
    ),
    Row(
        "a thousand models, killed and started",
        (
            turns("killed", killed, readyz=AT_ONCE, healthz=3 * 1.05 + AT_ONCE),
            revives("started again", started, 6),
        ),
        MANY,
        {"models": THOUSAND},
    ),
    Row(
        "a thousand models hang",
        (
            turns(
                "hang",
                lambda w: w.toy.tell(ready=True, models=dict.fromkeys(THOUSAND, "silence")),
                readyz=MANY_STALE,
            ),
            recovers("answer", lambda w: w.toy.tell(models=THOUSAND), 6),
        ),
        MANY,
        {"models": THOUSAND},
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_endpoint_says_what_is_true_and_in_time(row, tmp_path, note):
    with world(tmp_path, *row.flags, started=row.started, told=row.told, made=row.made) as w:
        if row.started and not row.unready:
            w.sidecar.wait_for("/readyz", 200)
        for step in row.steps:
            note(step.what, w.take(step), row.name)


def test_frozen_at_the_defaults(tmp_path, note):
    defaults = ("--period-seconds=5", "--recovery-period-seconds=1", "--timeout-seconds=2")
    with world(tmp_path, *defaults) as w:
        w.sidecar.wait_for("/readyz", 200)
        start = time.monotonic()
        step = turns("frozen", sent(signal.SIGSTOP), readyz=7.2 + SLACK, healthz=16)
        note(step.what, w.take(step))
        failed = [at for at, code in w.watcher.since("healthz", start) if code != 200]
        assert min(failed) - start > 11.3
