"""What people read: the formatter, and a observer that logs transitions."""

import atexit
import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from sidecar.core.status import Status
from sidecar.outputs.queued_stream import QueuedStream
from sidecar.store import Change

QUIET = {"asyncio": logging.WARNING, "aiohttp": logging.WARNING, "grpc": logging.CRITICAL}

# Seconds that the exit waits for lines to be written.
EXIT_SECONDS = 0.3

logger = logging.getLogger(__name__)


def log_change(change: Change) -> None:
    """Logs each status that moved, once: down is a warning, up is information.

    A check that fails for another reason than before is logged again, because
    the server's own text is shown nowhere else.
    """
    observation = change.observation
    if observation is not None and logger.isEnabledFor(logging.DEBUG):
        _log(
            logging.DEBUG,
            f"{observation.check.name} answered {observation.reason}",
            check=observation.check.name,
            reason=observation.reason,
            detail=observation.detail,
            duration=observation.duration,
        )
    for moved in change.transitions:
        up = moved.after is Status.SERVING
        _log(
            logging.INFO if up else logging.WARNING,
            f"{moved.check.name} is {moved.after} for {moved.probe}",
            check=moved.check.name,
            probe=moved.probe,
            **{"from": moved.before, "to": moved.after},
            reason=moved.reason,
            detail=moved.detail,
            duration=moved.lasted,
        )


def _log(level: int, msg: str, duration: float, **fields: Any) -> None:
    logger.log(level, msg, extra={"fields": {**fields, "duration": round(duration, 6)}})


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record's time, level and message, its fields, and its traceback if it has one."""
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "msg": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """One line for people: time, level, message and fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; control characters of the server's text cannot break it."""
        fields = _fields(record)
        if "from" in fields:
            shown = {
                "was": f"{fields['from']} for {fields['duration']:.1f} s",
                "reason": fields["reason"],
                "detail": fields["detail"],
            }
        else:
            shown = {
                name: value for name, value in fields.items() if name not in ("check", "reason")
            }
        parts = [f"{name}: {value}" for name, value in shown.items() if value not in ("", None)]
        tail = f" ({'; '.join(parts)})" if parts else ""
        line = f"{_time(record)} {record.levelname:<7} {record.getMessage()}{tail}"
        line = printable(line)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def printable(text: str) -> str:
    """The text on one line: what is no printable character is written as its escape."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return getattr(record, "fields", {})


def configure(level: str, form: str, stream: TextIO | None = None) -> None:
    """Sends every record of this process to one stream (standard error) in one form.

    `form` is `text`, `json` or `auto`: text on a terminal, JSON elsewhere.
    """
    stream = stream or sys.stderr
    if stream is None:  # it was closed by the parent process
        logging.basicConfig(handlers=[logging.NullHandler()], force=True)
        return
    text = form == "text" or (form == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TextFormatter() if text else JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Their debug records are about their own insides, many a poll; what gRPC
    # calls an error is an answer here.
    for library, least in QUIET.items():
        logging.getLogger(library).setLevel(least)


def queue_stderr() -> None:
    """Lets nothing that this process writes to standard error block from now on.

    That holds for log records, warnings and the traceback of a bug. What waits
    to be written at exit is given a moment.
    """
    if sys.stderr is None:
        return
    sys.stderr = QueuedStream(sys.stderr, notify=_log_dropped)
    atexit.register(sys.stderr.drain, EXIT_SECONDS)


def lines_dropped() -> int:
    """How many lines standard error did not take."""
    return sys.stderr.dropped if isinstance(sys.stderr, QueuedStream) else 0


def print_aside(text: str) -> None:
    """Prints to standard output, without waiting for a reader."""
    if sys.stdout is not None:
        stream = QueuedStream(sys.stdout)
        stream.write(f"{text}\n")
        atexit.register(stream.drain, EXIT_SECONDS)


def _log_dropped(lines: int) -> None:
    logger.warning("%d log lines were dropped, because standard error did not take them", lines)
