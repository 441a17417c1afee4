"""The log line of a call, and a hint where gRPC's error text does not name the cause."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import grpc.aio

from sidecar.client.errors import InferenceError, InvalidInput

logger = logging.getLogger(__name__)

# A log line is cut after this many characters.
MAX_LINE = 2000

# The texts with which gRPC says that the server closed the connection before it answered.
CLOSED = ("Socket closed", "Connection reset by peer", "Handshake read failed")


class Reporter:
    """Reports the calls of one connection.

    address:  the server's address, as the log line shows it.
    level:    the logging level of the line.
    hint:     appended to the error text when the server closed the connection
              before it answered; see `channel.close_hint`.
    """

    def __init__(self, address: str, *, level: int, hint: str) -> None:
        self._address = address
        self._level = level
        self._hint = hint

    @contextmanager
    def report(
        self, rpc: str, metadata: tuple[tuple[str, str | bytes], ...], about: object
    ) -> Iterator[None]:
        """Wrap a call: log one line when it has ended, and add the hint to its error.

        rpc:       the name of the method, such as `ModelInfer`.
        metadata:  the headers; the line has their names and no values.
        about:     its text is added to the line; empty adds nothing.

        Raises whatever the call raises.
        """
        started = time.perf_counter()
        outcome = "cancelled"
        try:
            yield
            outcome = "OK"
        except grpc.aio.AioRpcError as error:
            error = self._with_hint(error)
            outcome = f"{error.code().name}: {error.details()}"
            raise error from None
        except InvalidInput as error:
            outcome = f"invalid response: {error.reason}"
            raise
        except InferenceError as error:
            outcome = f"error in the stream: {error.reason}"
            raise
        finally:
            if logger.isEnabledFor(self._level):
                took = time.perf_counter() - started
                self._log(f"{rpc} {outcome} in {took:.4f} s", metadata, about)

    def _with_hint(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """Return the error, with the hint if the server closed the connection early."""
        details = error.details() or ""
        if "failed to connect" not in details or not any(end in details for end in CLOSED):
            return error
        return grpc.aio.AioRpcError(
            error.code(),
            error.initial_metadata(),
            error.trailing_metadata(),
            details=f"{details} ({self._hint})",
            debug_error_string=error.debug_error_string(),
        )

    def _log(self, call: str, metadata: tuple[tuple[str, str | bytes], ...], about: object) -> None:
        # The values of headers are not logged, because any of them may be a secret.
        names = ", ".join(name for name, _ in metadata)
        line = f"{self._address} {call}"
        line += f"; {about}" if about else ""
        line += f"; headers: {names}" if names else ""
        # A line break in the server's text would start a line that looks like another record.
        line = "".join(c if c.isprintable() else " " for c in line)
        logger.log(self._level, "%s", line[:MAX_LINE])
