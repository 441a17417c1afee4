"""What blocks whoever touches it holds up no endpoint: files, names, a pipe that nobody reads."""

import contextlib
import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support import (
    Sidecar,
    clean_environment,
    free_port,
    http_get,
    require_program,
    running_sidecar,
    wait_until,
)
from tests.toy import ToyProcess

STAT, OPEN, NAMES = range(3)
CALLS = ("stat", "open", "getaddrinfo")
FOR_EVER = 1_000_000_000  # milliseconds

# The longest pause may be so much longer with a fault than without.
PAUSE = 0.1
WINDOW = 1.5

AS_WITHOUT = dict.fromkeys(("readyz", "healthz", "livez"), "as without")

SUCCESSFUL = "inference_sidecar_config_last_reload_successful"
DROPPED = "inference_sidecar_log_lines_dropped_total"
REFUSED = "reload rejected"

# The command, with deadlines that a test can wait for and room for few log lines.
IMPATIENT = (
    "import sys; from sidecar import cli, runtime; from sidecar.outputs import queued_stream;"
    "cli.START_DEADLINE = runtime.FILES_DEADLINE = 1;"
    "queued_stream.QueuedStream.__init__.__kwdefaults__['max_waiting'] = 100;"
)
MAIN = "sys.exit(cli.main())"


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    """The library that makes calls slow."""
    built: Path = tmp_path_factory.mktemp("library") / "slow_calls.so"
    source = Path(__file__).with_name("slow_calls.c")
    build = (require_program("cc"), "-shared", "-fPIC", "-o", built, source, "-ldl")
    subprocess.run(build, check=True)
    return built


class Slow:
    """Makes calls of a process slow, by milliseconds, from one moment on."""

    def __init__(self, library: Path, folder: Path) -> None:
        self.folder = folder / "slow"
        self.folder.mkdir()
        self.control = folder / "control"
        self.control.write_bytes(struct.pack("3l", 0, 0, 0))
        self.environment: dict[str, Any] = {
            "LD_PRELOAD": str(library),
            "SLOW_CALLS": str(self.control),
            "SLOW_PATHS": str(self.folder),
        }

    def set(self, kind: int, milliseconds: int) -> None:
        """Lets the calls of one kind take so long; 0 ends those under way."""
        with self.control.open("r+b") as file:
            file.seek(kind * struct.calcsize("l"))
            file.write(struct.pack("l", milliseconds))

    def put(self, name: str, text: str) -> Path:
        """A file on the slow disk, replaced at once."""
        path, new = self.folder / name, self.folder / "new"
        new.write_text(text)
        new.replace(path)
        return path


@pytest.fixture
def slow(library, tmp_path) -> Slow:
    return Slow(library, tmp_path)


@pytest.fixture
def toy() -> Iterator[ToyProcess]:
    with ToyProcess(models={"a": True, "b": True}) as toy:
        yield toy


class Pauses:
    """Asks /healthz all the time, and knows how long it took to answer."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._took: list[tuple[float, float]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._ended.wait(0.005):
            asked = time.monotonic()
            with contextlib.suppress(OSError):
                http_get(self._port, "/healthz")
            self._took.append((asked, time.monotonic() - asked))

    def window(self, seconds: float = WINDOW) -> float:
        """The longest answer to what is asked in the next seconds."""
        start = time.monotonic()
        wait_until(lambda: self._took and self._took[-1][0] > start + seconds, within=30)
        return self.since(start)

    def since(self, start: float) -> float:
        """The longest answer to what was asked since then."""
        return max(duration for asked, duration in tuple(self._took) if asked >= start)

    def in_each_window(self, windows: int = 3) -> float:
        """The shortest of the longest pauses of some windows.

        What blocks the loop again and again is in each; another process that
        had the processor is not.
        """
        return min(self.window() for _ in range(windows))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def ends(sidecar: Sidecar, within: float = 1) -> None:
    """It ends by SIGTERM in so many seconds, with exit code 0."""
    told = time.monotonic()
    sidecar.signal(signal.SIGTERM)
    assert sidecar.wait() == 0
    assert time.monotonic() - told < within


def threads(sidecar: Sidecar) -> int:
    """How many threads it has."""
    return len(list(Path(f"/proc/{sidecar.process.pid}/task").iterdir()))


def looks(sidecar: Sidecar) -> Callable[[], bool]:
    """Whether the files have been looked at some times since, by the clock of rounds."""
    polls = 'inference_polls_total{rpc="ServerLive"}'
    before = sidecar.metric(polls)
    return lambda: sidecar.metric(polls) >= before + 5


@contextlib.contextmanager
def on_slow_files(
    slow: Slow,
    toy: ToyProcess,
    log: Path,
    *flags: str,
    code: str = IMPATIENT + MAIN,
    **options: Any,
) -> Iterator[Sidecar]:
    """A sidecar whose settings and token are on the slow disk."""
    config, token = slow.put("sidecar.yaml", "models: [a]"), slow.put("token", "secret")
    given = (f"--server-url={toy.url}", f"--config={config}", f"--bearer-token-file={token}")
    program = (sys.executable, "-c", code)
    with running_sidecar(
        log, *given, *flags, program=program, **slow.environment, **options
    ) as sidecar:
        yield sidecar


@pytest.mark.parametrize("kind", [STAT, OPEN])
def test_slow_files_hold_up_neither_endpoints_nor_polling_nor_a_drain(
    kind, slow, toy, tmp_path, note
):
    code = "import sys; from sidecar import cli;" + MAIN
    with on_slow_files(slow, toy, tmp_path / "log", "--drain-seconds=5", code=code) as sidecar:
        sidecar.wait_for("/readyz", 200)
        with Pauses(sidecar.port) as pauses:
            bound = pauses.in_each_window() + PAUSE
            slow.set(kind, 400)
            assert pauses.in_each_window() < bound
            slow.put("sidecar.yaml", "models: [a, b]")
            assert pauses.in_each_window() < bound
            wait_until(lambda: sidecar.records("configuration reloaded"))
            sidecar.wait_for_line("[+]model:b ok")
            assert sidecar.failed_polls() == 0
            told = time.monotonic()
            sidecar.signal(signal.SIGTERM)
            assert pauses.in_each_window() < bound
        assert sidecar.wait() == 0
        assert time.monotonic() - told < 6
    note(f"{CALLS[kind]} of settings and token takes 0.4 s", AS_WITHOUT)


@pytest.mark.parametrize("kind", [STAT, OPEN])
def test_files_that_hang_are_told_of_once_and_taken_when_they_are_back(
    kind, slow, toy, tmp_path, note
):
    with on_slow_files(slow, toy, tmp_path / "log") as sidecar:
        sidecar.wait_for("/readyz", 200)
        with Pauses(sidecar.port) as pauses:
            bound = pauses.in_each_window() + PAUSE
            slow.set(kind, FOR_EVER)
            slow.put("sidecar.yaml", "models: [a, b]")
            wait_until(lambda: sidecar.metric(SUCCESSFUL) == 0)
            hung = threads(sidecar)
            assert pauses.in_each_window() < bound
            wait_until(looks(sidecar))
            assert threads(sidecar) <= hung + 1  # a scrape may have one of its own
            (record,) = sidecar.logged(REFUSED)
            assert "reading the settings and their files takes longer than 1 s" in record["msg"]
            assert str(slow.folder / "sidecar.yaml") in record["msg"]
            slow.set(kind, 0)
            sidecar.wait_for_line("[+]model:b ok")
            assert sidecar.metric(SUCCESSFUL) == 1
            assert sidecar.get("/readyz").status == 200
            slow.set(kind, FOR_EVER)
            slow.put("sidecar.yaml", "models: [a]")
            wait_until(lambda: sidecar.metric(SUCCESSFUL) == 0)
        ends(sidecar)
    note(f"{CALLS[kind]} of settings and token hangs", AS_WITHOUT)


def test_files_that_hang_from_the_first_moment_of_the_loop_hold_up_nothing(slow, toy, tmp_path):
    code = (
        f"{IMPATIENT}"
        "import struct; from pathlib import Path; run = runtime.Runtime.run\n"
        "def hang(*args):\n"
        f"    Path({str(slow.control)!r}).write_bytes(struct.pack('3l', {FOR_EVER}, 0, 0))\n"
        "    return run(*args)\n"
        f"runtime.Runtime.run = hang; {MAIN}"
    )
    with on_slow_files(slow, toy, tmp_path / "log", code=code) as sidecar:
        with Pauses(sidecar.port) as pauses:
            assert pauses.in_each_window() < 2 * PAUSE
        sidecar.wait_for("/readyz", 200)
        wait_until(lambda: sidecar.records(REFUSED))
        assert sidecar.metric(SUCCESSFUL) == 0
        slow.set(STAT, 0)
        wait_until(lambda: sidecar.metric(SUCCESSFUL) == 1)
        assert len(sidecar.records(REFUSED)) == 1


@pytest.mark.parametrize("command", ["run", "check", "config"])
def test_files_that_hang_before_the_start_end_it_with_code_2(command, slow):
    config = slow.put("sidecar.yaml", "models: [a]")
    slow.set(STAT, FOR_EVER)
    slow.set(OPEN, FOR_EVER)
    result = subprocess.run(
        [sys.executable, "-c", IMPATIENT + MAIN, command, f"--config={config}"],
        env=clean_environment(**slow.environment),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (
        2,
        "",
        "sidecar: reading the settings and their files takes longer than 1 s\n",
    )


def test_a_slow_look_up_of_the_name_holds_up_no_endpoint_and_not_the_end(slow, toy, tmp_path, note):
    flags = (f"--server-url=localhost:{toy.port}", "--models=a")
    native = {"GRPC_DNS_RESOLVER": "native"}  # which calls getaddrinfo
    with running_sidecar(tmp_path / "log", *flags, **slow.environment, **native) as sidecar:
        sidecar.wait_for("/readyz", 200)
        with Pauses(sidecar.port) as pauses:
            bound = pauses.in_each_window() + PAUSE
            slow.set(NAMES, FOR_EVER)
            toy.kill()
            wait_until(lambda: sidecar.get("/healthz").status == 503)
            assert pauses.in_each_window() < bound
        ends(sidecar)
    note("the look-up hangs, the server is killed", AS_WITHOUT)


def test_a_service_accounts_files_that_hang_hold_up_no_endpoint_and_not_the_end(
    slow, toy, tmp_path, note
):
    code = (
        f"{IMPATIENT} from functools import partial; from pathlib import Path;"
        "from sidecar.outputs import kubernetes; kubernetes.ApiServer ="
        f" partial(kubernetes.ApiServer, directory=Path({str(slow.folder)!r})); {MAIN}"
    )
    for name in ("token", "namespace", "ca.crt"):
        slow.put(name, "text")
    events = ("--kubernetes-events=true", "--pod-name=a", "--pod-uid=b")
    flags = (f"--server-url={toy.url}", "--models=a", *events)
    environment = {**slow.environment, "KUBERNETES_SERVICE_HOST": "127.0.0.1"}
    program = (sys.executable, "-c", code)
    failed = 'inference_kubernetes_events_total{result="failed"}'
    with running_sidecar(tmp_path / "log", *flags, program=program, **environment) as sidecar:
        sidecar.wait_for("/readyz", 200)
        with Pauses(sidecar.port) as pauses:
            bound = pauses.in_each_window() + PAUSE
            slow.set(OPEN, FOR_EVER)
            toy.tell(models={"a": False})
            before = sidecar.metric(failed)
            wait_until(lambda: sidecar.metric(failed) > before, within=30)
            assert pauses.in_each_window() < bound
            sidecar.wait_for("/readyz", 503)
        ends(sidecar)
    note("the files of the service account hang, with Kubernetes Events on", AS_WITHOUT)


def test_a_scrape_that_hangs_holds_up_no_endpoint_and_not_the_end(slow, toy, tmp_path, note):
    environment = slow.environment | {"SLOW_PATHS": "/proc/"}
    flags = (f"--server-url={toy.url}", "--models=a")
    program = (
        sys.executable,
        "-c",
        f"{IMPATIENT} from sidecar.outputs.http import app; app.DEADLINE = 3; {MAIN}",
    )
    with running_sidecar(tmp_path / "log", *flags, program=program, **environment) as sidecar:
        sidecar.wait_for("/readyz", 200)
        with Pauses(sidecar.port) as pauses, socket.socket() as scraper:
            bound = pauses.in_each_window() + PAUSE
            slow.set(OPEN, FOR_EVER)
            scraper.connect(("127.0.0.1", sidecar.port))
            scraper.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            assert pauses.in_each_window() < bound
            assert scraper.recv(1000).startswith(b"HTTP/1.1 503")
            refused = sidecar.get("/metrics")
            assert (refused.status, refused.text) == (
                503,
                "making the response takes longer than 3 s\n",
            )
            slow.set(OPEN, 0)
            sidecar.wait_for("/metrics", 200)
            slow.set(OPEN, FOR_EVER)
            scraper.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            pauses.window(0.1)
            ends(sidecar)
    note("/proc hangs", AS_WITHOUT)


def reloaded(sidecar: Sidecar, times: int) -> bool:
    return len(sidecar.records("configuration reloaded")) >= times


def test_thousands_of_models_are_reloaded_without_a_long_pause(tmp_path):
    models = [f"model-{number}" for number in range(2000)]
    config = tmp_path / "sidecar.yaml"
    config.write_text(f"models: [{', '.join(models)}]")
    flags = (f"--config={config}", "--period-seconds=30", "--timeout-seconds=2")
    with ToyProcess(models=dict.fromkeys(models, True)) as toy:
        with running_sidecar(tmp_path / "log", f"--server-url={toy.url}", *flags) as sidecar:
            sidecar.wait_for("/readyz", 200, within=30)
            with Pauses(sidecar.port) as pauses:
                bound = pauses.in_each_window() + PAUSE
                longest = []
                for count in range(3):
                    config.write_text(f"models: [{', '.join(models[: 1000 + count])}]")
                    start = time.monotonic()
                    wait_until(partial(reloaded, sidecar, count + 1), within=20)
                    longest.append(pauses.since(start))
            assert min(longest) < bound


class Pipe:
    """A pipe that nobody reads yet, with room for a page."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 4096)
        os.write(self.writer, b"." * 4096)

    def read(self) -> str:
        """What is in it now."""
        return os.read(self.reader, 65536).decode()

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


@contextlib.contextmanager
def logging_into(pipe: Pipe, url: str, *flags: str, command: str = "run") -> Iterator[Any]:
    """A sidecar at log level debug whose standard error, and output, is the pipe; and its port."""
    port = free_port()
    given = [f"--http-port={port}", "--drain-seconds=0"]
    quick = ("--period-seconds=0.05", "--timeout-seconds=0.04", "--log-level=debug", "--jitter=0")
    if command == "run":
        given += [f"--server-url={url}", "--models=a"]
    process = subprocess.Popen(
        [sys.executable, "-c", IMPATIENT + MAIN, command, *given, *quick, *flags],
        stdout=pipe.writer,
        stderr=pipe.writer,
        env=clean_environment(),
    )
    try:
        yield process, port
    finally:
        process.kill()
        process.wait()


def answers(port: int, path: str, status: int = 200) -> bool:
    with contextlib.suppress(OSError):
        return http_get(port, path).status == status
    return False


def dropped(port: int) -> float:
    lines = http_get(port, "/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{DROPPED} "))


@pytest.mark.parametrize("command", ["run", "demo"])
def test_a_standard_error_that_nobody_reads_holds_up_neither_start_nor_end(
    command, pipe, toy, note
):
    with logging_into(pipe, toy.url, command=command) as (process, port):
        wait_until(lambda: answers(port, "/livez"), within=20)
        path = "/readyz?exclude=model:slow-to-load" if command == "demo" else "/readyz"
        wait_until(lambda: answers(port, path))
        with Pauses(port) as pauses:
            wait_until(lambda: dropped(port) > 0, within=40)
            assert pauses.in_each_window() < 2 * PAUSE
            assert answers(port, path)
        told = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert time.monotonic() - told < 1
    note(f"sidecar {command} at log level debug", AS_WITHOUT)


def test_log_lines_that_were_dropped_are_counted_and_told_when_there_is_a_reader(pipe, toy):
    with logging_into(pipe, toy.url, "--log-format=text") as (_, port):
        wait_until(lambda: answers(port, "/livez"), within=20)
        wait_until(lambda: dropped(port) > 20, within=40)
        told = ""
        while " log lines were dropped" not in told:
            told += pipe.read()
        count = int(told.partition(" log lines were dropped")[0].split()[-1])
        assert count > 20
        assert dropped(port) == count
        # No line is cut: what was dropped was dropped whole.
        lines = told.lstrip(".").splitlines()[:-1]
        assert all(line.startswith("20") for line in lines)


def test_a_bug_ends_it_although_nobody_reads_its_traceback(pipe):
    broken = "from sidecar.probes.prober import Prober; Prober.ask = lambda *_: 1 / 0;"
    code = f"{IMPATIENT} {broken} {MAIN}"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run", "--http-port=0"],
        stdout=pipe.writer,
        stderr=pipe.writer,
        env=clean_environment(),
    )
    assert process.wait(20) != 0


# Writes down what is opened, listed or looked up in the thread of the loop once it listens.
WATCHED = """
import sys, threading
from sidecar import cli, runtime
loop, there = threading.get_ident(), []
EVENTS = {"open", "os.listdir", "os.scandir", "import", "socket.getaddrinfo",
          "subprocess.Popen", "os.system"}
def note(event, args):
    if there and event in EVENTS and threading.get_ident() == loop:
        there.append((event, str(args[0])))
sys.addaudithook(note)
work = runtime.work
async def watched(*args):
    there.append("it listens")
    try:
        await work(*args)
    finally:
        print("SEEN", *there, sep="\\n  ")
        there.clear()
runtime.work = watched
sys.exit(cli.main())
"""


@pytest.mark.parametrize("canaries", [(), ("--canary=auto", "--canary-period-seconds=0.3")])
def test_the_loop_opens_no_file_imports_nothing_and_resolves_no_name(toy, tmp_path, canaries):
    config = tmp_path / "sidecar.yaml"
    config.write_text("models: [a]")
    token = tmp_path / "token"
    token.write_text("secret")
    flags = (f"--config={config}", f"--bearer-token-file={token}", "--log-level=debug")
    flags = (*flags, *canaries, "--discover=true", "--discover-period-seconds=0.3")
    program = (sys.executable, "-c", WATCHED)
    url = f"--server-url=localhost:{toy.port}"
    with running_sidecar(tmp_path / "log", url, *flags, program=program) as sidecar:
        sidecar.wait_for_line("[+]model:a ok")
        sidecar.wait_for_line("[-]repository failed: unimplemented")
        config.write_text("models: [a, b]")
        sidecar.wait_for_line("[+]model:b ok")
        config.write_text("models: [a, b")
        wait_until(lambda: sidecar.metric(SUCCESSFUL) == 0)
        token.unlink()
        sidecar.signal(signal.SIGHUP)
        wait_until(lambda: len(sidecar.records(REFUSED)) > 1)
        for path in ("/", "/status", "/livez", "/healthz", "/startupz?verbose", "/nothing"):
            sidecar.get(path)
            sidecar.get(path, method="POST")
        sidecar.get("/metrics", accept="application/openmetrics-text")
        with socket.create_connection(("127.0.0.1", sidecar.port)) as stranger:
            stranger.sendall(b"no HTTP\r\n\r\n")
            assert stranger.recv(1000).startswith(b"HTTP/1.0 400")
        toy.tell(models={"a": "INTERNAL", "b": "silence"}, live="silence")
        sidecar.wait_for_line("[-]server-live failed: timeout", "/healthz")
        toy.kill()
        sidecar.wait_for_line("[-]server-live failed: unreachable", "/healthz")
        toy.start()
        toy.tell(models={"a": True, "b": True})
        sidecar.wait_for_line("[+]server-live ok", "/healthz?verbose")
        ends(sidecar)
        seen = [line for line in sidecar.log.splitlines() if line.startswith("  ")]
    assert seen == ["  it listens"]
