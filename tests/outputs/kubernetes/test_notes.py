"""What is told: the fields of an Event, within Kubernetes' limits; and what is told together."""

import pytest

from sidecar.core.reasons import Reason
from sidecar.core.rules import STALE, UNCONFIGURED, UNKNOWN
from sidecar.outputs.kubernetes.notes import (
    MAX_PENDING_CHECKS,
    Changes,
    PendingChanges,
    Pod,
    Subject,
    camel_case,
    micro_time,
)
from tests.kube_api import NAMESPACE, problems

POD = Pod("triton-0", "7d2a9c1e-0000-4000-8000-1234567890ab")
AT = 1_795_996_984.5  # 2026-11-30 00:03:04.5 UTC

READYZ = Subject("/readyz", False, "timeout", True, "model:bert")


def fails(name: str, reason: str = "not_ready") -> Subject:
    return Subject(name, False, reason, True)


def passes(name: str) -> Subject:
    return Subject(name, True, "ok", False)


def pending(*changes: tuple[Subject, float]) -> PendingChanges:
    made = PendingChanges()
    for subject, at in changes:
        assert made.add(subject, at)
    return made


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        (
            [(READYZ, AT)],
            "/readyz fails since 2026-11-30 00:03:04 UTC: model:bert timeout (no answer in time)",
        ),
        ([(passes("/readyz"), AT)], "/readyz passes since 2026-11-30 00:03:04 UTC"),
        (
            [(fails("model:bert"), AT)],
            "model:bert fails since 2026-11-30 00:03:04 UTC: not_ready (the server answered false)",
        ),
        (
            [(fails("model:bert"), AT), (fails("model:a"), AT + 1)],
            "2 checks fail since 2026-11-30 00:03:05 UTC: not_ready (the server answered false):"
            " model:a, model:bert",
        ),
        (
            [(passes("model:bert"), AT), (passes("model:a"), AT)],
            "2 checks pass since 2026-11-30 00:03:04 UTC: model:a, model:bert",
        ),
        (
            [(READYZ, AT), (READYZ, AT + 60)],
            "/readyz fails since 2026-11-30 00:04:04 UTC: model:bert timeout (no answer in time);"
            " 2 times since 2026-11-30 00:03:04 UTC",
        ),
    ],
)
def test_the_note_says_in_plain_words_what_and_since_when(changes, note):
    assert pending(*changes).take().note == note


def test_an_endpoint_that_fails_says_how_many_more_checks_do():
    made = PendingChanges()
    made.add(READYZ, AT, more=3)
    assert made.take().note.endswith("(no answer in time); 3 more checks fail")


REASONS = [*Reason, UNKNOWN, STALE, UNCONFIGURED]
LONG = "\N{SNOWMAN}" * 3000


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("name", ["/readyz", "model:bert", f"model:{LONG}"], ids=len)
@pytest.mark.parametrize("pod", [POD, Pod("p" * 253, "u"), Pod("a.b-" * 50 + "c", "u")], ids=len)
def test_every_event_is_one_that_kubernetes_takes(reason, name, pod):
    names = (name, *(f"model:{'x' * 50}{n}" for n in range(1000)))
    for told in (
        Changes(Subject(name, False, reason, True, name), (name,), AT, AT),
        Changes(fails("", reason), names, AT, AT + 9, times=7),
    ):
        event = told.as_event(f"{pod.name[:200].rstrip('-.')}.18c", NAMESPACE, pod)
        assert problems(event, NAMESPACE) == []


def test_a_list_that_is_too_long_says_how_many_more_there_are():
    names = tuple(f"model:{'x' * 50}{n:03}" for n in range(100))
    note = Changes(fails(""), names, AT, AT).note
    shown = sum(name in note for name in names)
    assert 5 < shown < 20
    assert note.endswith(f" and {100 - shown} more")


def test_the_fields_are_those_of_the_field():
    event = pending((READYZ, AT), (READYZ, AT + 1.25)).take().as_event("n", NAMESPACE, POD)
    assert event["regarding"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": NAMESPACE,
        "name": POD.name,
        "uid": POD.uid,
    }
    assert (event["type"], event["reason"]) == ("Warning", "Timeout")
    assert event["eventTime"] == "2026-11-30T00:03:04.500000Z"
    assert event["series"] == {"count": 2, "lastObservedTime": "2026-11-30T00:03:05.750000Z"}
    assert pending((passes("/readyz"), AT)).take().as_event("n", NAMESPACE, POD)["type"] == "Normal"


def test_reasons_are_camel_case_and_times_have_six_digits():
    assert camel_case("model_not_found") == "ModelNotFound"
    assert len({camel_case(reason) for reason in REASONS}) == len(REASONS)
    assert micro_time(0) == "1970-01-01T00:00:00.000000Z"


def test_endpoints_are_told_before_checks_and_the_last_change_last():
    made = pending(
        (fails("model:a"), 1), (passes("/readyz"), 2), (READYZ, 3), (passes("/readyz"), 4)
    )
    assert [(t.subject.name, t.subject.passing) for t in (made.take(), made.take())] == [
        ("/readyz", False),
        ("/readyz", True),
    ]
    assert made.take().names == ("model:a",)
    assert len(made) == 0


def test_only_checks_that_changed_in_the_same_way_are_told_together():
    made = pending(
        (fails("model:a", "timeout"), 1), (fails("model:b"), 2), (fails("model:c", "timeout"), 3)
    )
    assert [made.take().names, made.take().names] == [("model:a", "model:c"), ("model:b",)]


def test_no_more_wait_than_are_bounded():
    made = pending(*((fails(f"model:{n}"), n) for n in range(MAX_PENDING_CHECKS)))
    assert not made.add(fails("model:x"), 0)
    assert made.add(fails("model:0"), 0)  # counted with the one that waits
    assert made.add(READYZ, 0)  # has room of its own
    note = made.take().note
    assert note.startswith("/readyz")
    assert made.take().note.startswith(f"{MAX_PENDING_CHECKS} checks fail")
