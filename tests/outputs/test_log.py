"""What people read: one line a transition, in both forms, and nothing that breaks the line."""

import io
import json
import logging
import os
import re

import pytest

from sidecar.core.checks import SERVER_LIVE, Observation
from sidecar.core.reasons import Reason
from sidecar.outputs import log
from tests.core.folding import A, all_ok, change, initial, saw


@pytest.fixture(autouse=True)
def _restore_logging():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def written(form: str, level: str, *events) -> list[str]:
    """The lines that these changes leave behind."""
    stream = io.StringIO()
    log.configure(level, form, stream)
    for event in events:
        log.log_change(event)
    return stream.getvalue().splitlines()


def event(check, answer, *, at=12.5, detail=""):
    """An observation that comes to a health in which all is well, and what it moves."""
    health = all_ok(initial())
    seen = Observation(check, Reason(answer), at, 0.002, detail)
    return change(health, seen)


def test_down_is_one_warning_with_the_fields_usual_keys():
    (line,) = written("json", "info", event(A, "not_ready", detail="still loading"))
    record = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", record.pop("time"))
    assert record == {
        "level": "warning",
        "msg": "model:a is NOT_SERVING for readiness",
        "check": "model:a",
        "probe": "readiness",
        "from": "SERVING",
        "to": "NOT_SERVING",
        "reason": "not_ready",
        "detail": "still loading",
        "duration": 12.5,
    }


def test_up_is_information():
    seen = saw(A, "ok", at=3)
    (line,) = written("json", "info", change(initial(), seen))
    record = json.loads(line)
    assert (record["level"], record["from"], record["to"]) == ("info", "UNKNOWN", "SERVING")


def test_a_poll_that_changes_nothing_is_silent():
    assert written("json", "info", event(A, "ok"), event(A, "timeout")) == []


def test_at_debug_each_poll_is_told():
    (line,) = written("json", "debug", event(A, "timeout", detail="Deadline Exceeded"))
    record = json.loads(line)
    del record["time"]
    assert record == {
        "level": "debug",
        "msg": "model:a answered timeout",
        "check": "model:a",
        "reason": "timeout",
        "detail": "Deadline Exceeded",
        "duration": 0.002,
    }


def test_text_is_one_line_for_people():
    lines = written(
        "text",
        "debug",
        event(A, "not_ready", detail="a\nb\x1b[31m"),
        event(A, "ok"),
    )
    assert [re.sub(r"^\S+ ", "", line) for line in lines] == [
        r"DEBUG   model:a answered not_ready (detail: a\nb\x1b[31m; duration: 0.002)",
        r"WARNING model:a is NOT_SERVING for readiness"
        r" (was: SERVING for 12.5 s; reason: not_ready; detail: a\nb\x1b[31m)",
        "DEBUG   model:a answered ok (duration: 0.002)",
    ]


@pytest.mark.parametrize(("terminal", "form"), [(True, "text"), (False, "json")])
def test_auto_is_text_on_a_terminal_and_json_elsewhere(terminal, form):
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return bool(terminal)

    stream = Stream()
    log.configure("info", "auto", stream)
    logging.getLogger("x").info("hello")
    assert stream.getvalue().startswith("{") is (form == "json")


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_traceback_is_kept(form):
    stream = io.StringIO()
    log.configure("info", form, stream)
    try:
        os.environ["A BUG"]
    except KeyError:
        logging.getLogger("x").exception("it broke")
    assert "it broke" in stream.getvalue()
    assert "KeyError: 'A BUG'" in stream.getvalue()


def test_one_line_a_check_when_the_server_vanishes():
    lines = written("json", "info", event(SERVER_LIVE, "unreachable"))
    assert [json.loads(line)["check"] for line in lines] == [
        "server-live",
        "server-ready",
        "model:a",
        "model:b:3",
    ]
