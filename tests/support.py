"""What the tests share: real processes on loopback, and waiting for a condition with a limit."""

import asyncio
import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest

T = TypeVar("T")

PAUSE = 0.02  # between two looks at a condition


def untyped(value: object) -> Any:
    """The value without its type, to be given where a type checker would not allow it."""
    return value


def wait_until(condition: Callable[[], T], within: float = 10) -> T:
    """The condition's first true value; fails with its last value after so many seconds."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"after {within} s the condition is still {value!r}")
        time.sleep(PAUSE)
    return value


async def eventually(condition: Callable[[], T], within: float = 10) -> T:
    """As `wait_until`, while the event loop goes on."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"after {within} s the condition is still {value!r}")
        await asyncio.sleep(PAUSE)
    return value


def free_port() -> int:
    """A port of 127.0.0.1 that is free, and that no outgoing connection will be given."""
    ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, ephemeral)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def missing(what: str) -> NoReturn:
    """Skips the test for lack of something, or in CI fails it."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def require_program(name: str) -> str:
    """The program's path. Without it the test is skipped, or in CI, fails."""
    path = shutil.which(name)
    if path is None:
        missing(f"{name} is not installed")
    return path


@dataclass(frozen=True)
class Response:
    """What an HTTP request brought back."""

    status: int
    text: str
    headers: Mapping[str, str]

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.text)


def http_get(
    port: int, path: str, *, method: str = "GET", accept: str = "*/*", **headers: str
) -> Response:
    """One request on a new connection, as the kubelet makes it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        always = {"Accept": accept, "Connection": "close"}
        connection.request(method, path, headers=always | headers)
        response = connection.getresponse()
        text = response.read().decode()
        return Response(response.status, text, {k.lower(): v for k, v in response.getheaders()})
    finally:
        connection.close()


class Sidecar:
    """The sidecar as its own process, on a free port."""

    def __init__(self, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.process = popen
        self._log = log
        wait_until(lambda: self.records("is listening") or popen.poll() is not None, within=20)
        assert popen.poll() is None, self.log
        self.port: int = self.records("is listening")[0]["port"]

    @property
    def log(self) -> str:
        """Everything that it has written so far."""
        return self._log.read_text()

    def records(self, part: str = "") -> list[dict[str, Any]]:
        """The log's records whose message has this part."""
        whole_lines = self.log.splitlines(keepends=True)
        records = [json.loads(line) for line in whole_lines if line.endswith("}\n")]
        return [record for record in records if part in record["msg"]]

    def logged(self, part: str, count: int = 1) -> list[dict[str, Any]]:
        """The same, once there are so many at least: the log is written in the background."""

        def found() -> list[dict[str, Any]]:
            records = self.records(part)
            return records if len(records) >= count else []

        return wait_until(found)

    def get(self, path: str, *, method: str = "GET", accept: str = "*/*") -> Response:
        """One request to it."""
        return http_get(self.port, path, method=method, accept=accept)

    def wait_for(self, path: str, status: int, within: float = 15) -> Response:
        """The first response of this status."""

        def condition() -> Response | None:
            response = self.get(path)
            return response if response.status == status else None

        response = wait_until(condition, within)
        assert response is not None
        return response

    def wait_for_line(self, line: str, path: str = "/readyz?verbose", within: float = 15) -> None:
        """Until this line stands in the body."""
        wait_until(lambda: line in self.get(path).text.splitlines(), within)

    def metric(self, series: str) -> float:
        """The value of one series of /metrics, named as it is printed there."""
        lines = self.get("/metrics").text.splitlines()
        return next(
            float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{series} ")
        )

    def failed_polls(self, *, but_for: str = "") -> float:
        """How many polls failed so far, whatever the reason but this one."""
        lines = self.get("/metrics").text.splitlines()
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if line.startswith("inference_poll_failures_total{")
            and f'reason="{but_for}"' not in line
        )

    def signal(self, signum: signal.Signals = signal.SIGTERM) -> None:
        """Sends it a signal."""
        self.process.send_signal(signum)

    def wait(self, within: float = 15) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(within)


def clean_environment(**variables: str) -> dict[str, str]:
    """This process's environment without any setting of the sidecar, and with these variables."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("SIDECAR_")}
    return {**inherited, **variables}


def python(*args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the interpreter to its end."""
    return subprocess.run(
        [sys.executable, *args],
        env=clean_environment(**variables),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def sidecar(*args: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end."""
    return python("-m", "sidecar", *args, **variables)


@contextlib.contextmanager
def running_sidecar(
    log: Path,
    *args: str,
    command: str = "run",
    program: Sequence[str] = (sys.executable, "-m", "sidecar"),
    **variables: str,
) -> Iterator[Sidecar]:
    """Starts `sidecar run` on a free port, waits until it listens, and ends it in the end.

    Rounds are quick and there is no drain unless the flags say otherwise.
    """
    defaults = {"--http-port": "0", "--http-host": "127.0.0.1", "--period-seconds": "0.5"}
    defaults |= {"--timeout-seconds": "0.4", "--recovery-period-seconds": "0.1"}
    defaults |= {"--drain-seconds": "0", "--log-format": "json"}
    defaults |= {"--reload-interval-seconds": "0.5"}
    given = {arg.partition("=")[0] for arg in args}
    flags = [f"{name}={value}" for name, value in defaults.items() if name not in given]
    with (
        log.open("wb") as stream,
        _started(
            [*program, command, *flags, *args],
            stream,
            clean_environment(**variables),
        ) as popen,
    ):
        yield Sidecar(popen, log)


@contextlib.contextmanager
def _started(
    command: Sequence[str], output: Any, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    popen = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        yield popen
    finally:
        if popen.poll() is None:
            popen.terminate()
            try:
                popen.wait(10)
            except subprocess.TimeoutExpired:
                popen.kill()
                popen.wait()
