"""The log: its configuration and formatters, and an observer that logs transitions."""

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

# Seconds that the exit waits until all lines are written.
EXIT_SECONDS = 0.3

logger = logging.getLogger(__name__)


def log_change(change: Change) -> None:
    """Log each change of a status: a failure as a warning, a recovery as information.

    A check that fails with a new reason is logged again, because the server's own
    text is shown nowhere else.
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
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return time, level, message and fields of the record, and its traceback if any."""
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
    """One readable line: time, level, message and fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; control characters in the server's text are escaped."""
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
    """Return the text on one line, with escapes for characters that are not printable."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return getattr(record, "fields", {})


def configure(level: str, form: str, stream: TextIO | None = None) -> None:
    """Send every log record of this process to one stream (standard error) in one format.

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
    # Their debug records are about internals, with many per poll; what gRPC
    # logs as an error is a result here.
    for library, least in QUIET.items():
        logging.getLogger(library).setLevel(least)


def queue_stderr() -> None:
    """Make writes of this process to standard error non-blocking from now on.

    This applies to log records, warnings and the traceback of a bug. At exit,
    waiting lines get a short time to be written.
    """
    if sys.stderr is None:
        return
    sys.stderr = QueuedStream(sys.stderr, notify=_log_dropped)
    atexit.register(sys.stderr.drain, EXIT_SECONDS)


def lines_dropped() -> int:
    """The number of lines that were not written to standard error."""
    return sys.stderr.dropped if isinstance(sys.stderr, QueuedStream) else 0


def print_aside(text: str) -> None:
    """Print to standard output without waiting for a reader."""
    if sys.stdout is not None:
        stream = QueuedStream(sys.stdout)
        stream.write(f"{text}\n")
        atexit.register(stream.drain, EXIT_SECONDS)


def _log_dropped(lines: int) -> None:
    logger.warning("%d log lines were dropped, because standard error did not take them", lines)
