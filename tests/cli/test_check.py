"""A single check as its own process: what it ends with, what it prints, and how it waits."""

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from sidecar import DOCS
from sidecar.cli import main
from sidecar.cli.advice import ADVICE
from sidecar.core.rules import MEANINGS
from tests.docs.pages import ROOT
from tests.support import clean_environment, free_port, python, running_sidecar, sidecar
from tests.toy import ToyProcess

QUICK = ("--period-seconds=0.5", "--timeout-seconds=0.4", "--recovery-period-seconds=0.1")
LONG = ("--period-seconds=60", "--timeout-seconds=50")

pytestmark = pytest.mark.usefixtures("restored_signals")

READY = "[+]server-live ok\n[+]server-ready ok\n[+]model:a ok\nreadyz check passed\n"


@pytest.fixture(scope="module")
def running_toy() -> Iterator[ToyProcess]:
    with ToyProcess() as toy:
        yield toy


@pytest.fixture
def toy(running_toy: ToyProcess) -> ToyProcess:
    """A server whose one model is ready, whatever the test before has made of it."""
    running_toy.signal(signal.SIGCONT)
    running_toy.tell(models={"a": True}, ready=True)
    return running_toy


def flags(toy: ToyProcess, *args: str) -> list[str]:
    """The command for a toy server, with quick rounds."""
    return ["check", f"--server-url={toy.url}", "--models=a", *QUICK, *args]


@dataclass(frozen=True)
class Result:
    """What a check came to."""

    code: int
    stdout: str
    stderr: str


def check(toy: ToyProcess, *args: str) -> Result:
    """Runs the command to its end in this process, which is quicker than in its own."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        code = main(flags(toy, *args))
    return Result(code, stdout.getvalue(), stderr.getvalue())


def without_hints(stdout: str) -> str:
    """The lines of the checks; what is said about them is indented."""
    return "".join(line for line in stdout.splitlines(True) if not line.startswith("    "))


@contextlib.contextmanager
def waiting(
    toy: ToyProcess, *args: str, stderr: Any = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    """The command while it waits."""
    with subprocess.Popen(
        [sys.executable, "-m", "sidecar", *flags(toy, "--wait=60", *args)],
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env=clean_environment(),
    ) as popen:
        try:
            yield popen
        finally:
            popen.kill()


def next_line(popen: subprocess.Popen[str]) -> str:
    """The next line of standard error, without how long it has waited."""
    assert popen.stderr is not None
    return re.sub(r", \d+ s of", ", _ s of", popen.stderr.readline())


def test_a_ready_server_is_code_0_and_the_findings_are_those_of_readyz(toy):
    result = sidecar(*flags(toy))
    assert (result.returncode, result.stdout, result.stderr) == (0, READY, "")


@pytest.mark.parametrize(
    ("reply", "word", "code"),
    [
        (False, "not_ready", 1),
        ("NOT_FOUND", "model_not_found", 1),
        ({"status": "UNAVAILABLE", "details": "Server exiting"}, "shutting_down", 1),
        ("UNAUTHENTICATED", "denied", 1),
        ("UNIMPLEMENTED", "unimplemented", 1),
        ("INTERNAL", "error", 1),
        ({"status": "UNAVAILABLE", "details": "Connection reset"}, "unreachable", 3),
        ("silence", "timeout", 4),
    ],
)
def test_each_answer_has_its_word_and_its_code(toy, reply, word, code):
    toy.tell(models={"a": reply}, ready=True)
    result = check(toy)
    assert (result.code, without_hints(result.stdout)) == (
        code,
        f"[+]server-live ok\n[+]server-ready ok\n[-]model:a failed: {word}\nreadyz check failed\n",
    )


def test_a_check_that_fails_has_a_hint_and_the_page_once_for_each_reason(toy):
    toy.tell(models={"a": False, "b": False, "c": "UNAUTHENTICATED"}, ready=True)
    lines = check(toy, "--models=a,b,c").stdout.splitlines()[2:]
    page = f"{DOCS}/how-it-decides.md"
    assert lines == [
        "[-]model:a failed: not_ready",
        f"    hint: {ADVICE['not_ready']}",
        f"    {page}#not_ready",
        "[-]model:b failed: not_ready",
        "[-]model:c failed: denied",
        f"    hint: {ADVICE['denied']}",
        f"    {page}#denied",
        "readyz check failed",
    ]


def test_every_reason_has_advice_and_a_place_on_the_page():
    assert ADVICE.keys() == MEANINGS.keys()
    text = (ROOT / "docs" / "how-it-decides.md").read_text()
    assert all(f"### {reason}\n" in text for reason in ADVICE)


def all_failed(word: str) -> str:
    """The findings when the server as a whole gave no answer."""
    names = ("server-live", "server-ready", "model:a")
    return "".join(f"[-]{name} failed: {word}\n" for name in names) + "readyz check failed\n"


def test_no_server_is_code_3_and_the_text_of_the_failure_is_told_aside():
    result = sidecar(*flags(ToyProcess()))
    assert (result.returncode, without_hints(result.stdout)) == (3, all_failed("unreachable"))
    assert re.fullmatch(r"server-live: UNAVAILABLE: .*Connection refused.*\n", result.stderr)


def test_a_certificate_that_is_not_trusted_is_code_3(pki, other_pki):
    with ToyProcess({"cert": str(pki.cert), "key": str(pki.key)}, models={"a": True}) as toy:
        trusting = ("--server-url", f"grpcs://localhost:{toy.port}", "--tls-ca-file")
        assert check(toy, *trusting, str(pki.ca)).code == 0
        result = check(toy, *trusting, str(other_pki.ca))
    assert (result.code, without_hints(result.stdout)) == (3, all_failed("tls"))
    assert "CERTIFICATE_VERIFY_FAILED" in result.stderr


def test_a_frozen_server_is_code_4(toy):
    toy.signal(signal.SIGSTOP)
    result = check(toy)
    assert (result.code, without_hints(result.stdout)) == (4, all_failed("timeout"))


def test_an_answer_counts_before_silence(toy):
    toy.tell(models={"a": "silence", "b": False}, ready=True)
    assert check(toy, "--models=a,b").code == 1


def test_what_does_not_count_is_shown_and_decides_nothing(toy):
    toy.tell(models={"a": True, "b": "silence"}, ready=False)
    models = '[{"name": "a"}, {"name": "b", "required": false}]'
    result = check(toy, "--models", models, "--require-server-ready=false")
    assert (result.code, without_hints(result.stdout).splitlines()[1:]) == (
        0,
        [
            "[-]server-ready failed: not_ready",
            "[+]model:a ok",
            "[-]model:b failed: timeout",
            "readyz check passed",
        ],
    )


def test_what_does_not_count_is_not_waited_for_either(toy):
    toy.tell(models={"a": False, "b": "silence"}, ready=False)
    models = '[{"name": "a"}, {"name": "b", "required": false}]'
    with waiting(toy, "--models", models, "--require-server-ready=false") as popen:
        assert next_line(popen).startswith("waiting for model:a (not_ready), _ s of 60 s")


def test_in_a_single_round_one_good_answer_is_enough_and_while_waiting_as_many_as_are_set(toy):
    thrice = ("--readiness-success-threshold=3", "--output=json")
    once, waited = check(toy, *thrice), check(toy, *thrice, "--wait=60")
    assert (once.code, waited.code) == (0, 0)
    apart = [json.loads(result.stdout)["uptime_seconds"] for result in (once, waited)]
    assert apart[1] - apart[0] > 0.1
    assert waited.stderr == "waiting for server-live (unknown), 0 s of 60 s\n"


def form(value: Any) -> Any:
    """What a JSON value looks like when only its keys and types count."""
    if isinstance(value, dict):
        return {key: form(item) for key, item in value.items()}
    if isinstance(value, list):
        return [form(item) for item in value]
    return type(value)


def test_where_models_are_to_be_discovered_the_server_itself_decides(toy):
    toy.tell(ready=False)
    result = check(toy, "--models=", "--discover=true")
    assert (result.code, "[-]server-ready failed: not_ready" in result.stdout) == (1, True)
    toy.tell(ready=True)
    assert check(toy, "--models=", "--discover=true").code == 0


def test_as_json_it_is_the_document_that_the_daemon_gives(toy, tmp_path):
    result = check(toy, "--output=json")
    assert (result.code, result.stderr) == (0, "")
    document = json.loads(result.stdout)
    with running_sidecar(tmp_path / "log", f"--server-url={toy.url}", "--models=a") as daemon:
        daemon.wait_for("/readyz", 200)
        assert form(document) == form(daemon.get("/status").json())
    assert document["server_url"] == toy.url
    assert document["endpoints"]["readyz"]["passing"] is True
    assert [(c["name"], c["answer"]) for c in document["checks"][2:]] == [
        ("server-ready", "ok"),
        ("model:a", "ok"),
    ]


def test_it_waits_until_a_model_is_there_and_writes_a_line_a_change(toy):
    toy.tell(models={"a": False}, ready=True)
    with waiting(toy) as popen:
        assert next_line(popen) == "waiting for model:a (not_ready), _ s of 60 s\n"
        toy.tell(models={"a": "INTERNAL"}, ready=True)
        assert next_line(popen) == (
            "waiting for model:a (error), _ s of 60 s; model:a: INTERNAL: as told\n"
        )
        toy.tell(models={"a": True}, ready=True)
        assert popen.communicate(timeout=20) == (READY, "")
        assert popen.returncode == 0


def test_it_waits_for_a_server_that_is_not_yet_started():
    toy = ToyProcess(models={"a": True})
    with waiting(toy) as popen:
        assert next_line(popen).startswith("waiting for server-live (unreachable), _ s of 60 s; ")
        with toy:
            assert popen.communicate(timeout=20) == (READY, "")
            assert popen.returncode == 0


def test_what_a_model_said_is_not_told_once_the_server_is_gone():
    with ToyProcess(models={"a": "INTERNAL"}, ready=True) as toy, waiting(toy) as popen:
        assert next_line(popen).startswith("waiting for model:a (error), _ s of 60 s; model:a: ")
        toy.kill()
        while "server-live (unreachable)" not in next_line(popen):
            assert popen.poll() is None
        popen.send_signal(signal.SIGTERM)
        stderr = popen.communicate(timeout=20)[1]
    assert [line.partition(":")[0] for line in stderr.splitlines()] == ["server-live"]


def test_of_many_that_are_waited_for_the_first_are_named(toy):
    with waiting(toy, "--models=a,b,c,d,e,f") as popen:
        assert next_line(popen).startswith(
            "waiting for model:b (model_not_found), model:c (model_not_found),"
            " model:d (model_not_found) and 2 more, _ s of 60 s; model:b: NOT_FOUND: "
        )


@pytest.mark.parametrize(("reply", "code"), [(False, 1), ("silence", 4)])
def test_when_the_time_is_over_the_last_answer_decides(toy, reply, code):
    toy.tell(models={"a": reply}, ready=True)
    result = check(toy, "--wait=0.5")
    assert result.code == code
    assert result.stderr.startswith("waiting for model:a (")
    assert result.stdout.endswith("readyz check failed\n")


def test_a_first_round_comes_to_its_end_however_short_the_waiting(toy):
    toy.tell(models={"a": {"after": 0.2, "reply": True}}, ready=True)
    assert check(toy, "--wait=0.01").stdout == READY


def test_a_later_round_is_cut_when_the_time_is_over(toy):
    toy.tell(models={"a": False}, ready=True)
    started = time.monotonic()
    with waiting(toy, *LONG, "--wait=1") as popen:
        next_line(popen)
        toy.tell(models={"a": "silence"}, ready=True)
        popen.communicate(timeout=20)
        assert popen.returncode == 1
    assert time.monotonic() - started < 30  # the question alone may take 50


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_waiting_at_once_with_its_own_code(toy, signum, code):
    toy.tell(models={"a": False}, ready=True)
    with waiting(toy) as popen:
        next_line(popen)
        popen.send_signal(signum)
        stdout, stderr = popen.communicate(timeout=20)
    assert (popen.returncode, stderr) == (code, "")
    assert without_hints(stdout) == READY.replace(
        "+]model:a ok", "-]model:a failed: not_ready"
    ).replace("passed", "failed")


def test_two_signals_at_once_are_one(toy):
    toy.tell(models={"a": False}, ready=True)
    with waiting(toy) as popen:
        next_line(popen)
        for signum in (signal.SIGSTOP, signal.SIGINT, signal.SIGTERM, signal.SIGCONT):
            popen.send_signal(signum)
        assert popen.communicate(timeout=20)[1] == ""
    assert popen.returncode in (130, 143)


def test_a_signal_ends_even_the_first_question(toy):
    toy.signal(signal.SIGSTOP)
    terminal, other = pty.openpty()
    with waiting(toy, *LONG, stderr=other) as popen:
        os.close(other)
        assert read_until(terminal, "server-live (unknown)")
        popen.send_signal(signal.SIGINT)
        assert without_hints(popen.communicate(timeout=20)[0]) == all_failed("unknown")
    os.close(terminal)
    assert popen.returncode == 130


def read_until(terminal: int, part: str) -> str:
    """What comes from a terminal until this part has come, or its other end is closed."""
    text = ""
    while part not in text:
        try:
            text += os.read(terminal, 4096).decode()
        except OSError:
            break
    return text


def test_on_a_terminal_one_line_is_written_anew_and_taken_away(toy):
    toy.tell(models={"a": False, "b": True}, ready=True)
    terminal, other = pty.openpty()
    with waiting(toy, stderr=other) as popen:
        os.close(other)
        begun = read_until(terminal, ", 1 s of 60 s")
        toy.tell(models={"a": True}, ready=True)
        assert popen.communicate(timeout=20)[0] == READY
        ended = read_until(terminal, "no such part")
    os.close(terminal)
    line = "waiting for model:a (not_ready), 1 s of 60 s"
    assert set(begun.split("\r")) == {"", line.replace("1 s", "0 s"), line}
    assert ended.endswith(f"\r{' ' * len(line)}\r")
    assert "\n" not in begun + ended


def test_on_a_narrow_terminal_the_line_is_cut_because_one_that_wraps_would_stay(toy):
    toy.tell(models={"a": False}, ready=True)
    terminal, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 20, 0, 0))
    with waiting(toy, stderr=other) as popen:
        os.close(other)
        shown = read_until(terminal, "waiting for model:a\r")
        assert set(shown.split("\r")) == {"", "waiting for model:a"}
        popen.send_signal(signal.SIGTERM)
        popen.communicate(timeout=20)
    os.close(terminal)


def test_what_is_misspelt_is_named(monkeypatch):
    monkeypatch.setenv("SIDECAR_MODLES", "a")
    result = check(ToyProcess())
    assert result.stderr.startswith(
        "sidecar: SIDECAR_MODLES is set, but there is no such setting;"
        " did you mean SIDECAR_MODELS?\n"
    )


def test_without_a_standard_error_only_the_findings_are_written(toy):
    toy.tell(models={"a": "INTERNAL"}, ready=True)
    command = [sys.executable, "-m", "sidecar", *flags(toy, "--wait=0.3")]
    closed = ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", *command]
    result = subprocess.run(
        closed, env=clean_environment(), stdout=subprocess.PIPE, text=True, check=False, timeout=20
    )
    assert result.returncode == 1
    assert without_hints(result.stdout).splitlines()[2:] == [
        "[-]model:a failed: error",
        "readyz check failed",
    ]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_whoever_stops_reading_changes_nothing(toy, stream):
    toy.tell(models={"a": False}, ready=True)
    ours, theirs = os.pipe()
    os.close(ours)
    with subprocess.Popen(
        [sys.executable, "-m", "sidecar", *flags(toy, "--wait=0.3")],
        stdout=theirs if stream == "stdout" else subprocess.PIPE,
        stderr=theirs if stream == "stderr" else subprocess.PIPE,
        text=True,
        env=clean_environment(),
    ) as popen:
        os.close(theirs)
        stdout, stderr = popen.communicate(timeout=20)
    assert popen.returncode == 1
    if stream == "stdout":
        assert stderr == "waiting for model:a (not_ready), 0 s of 0.3 s\n"
    else:
        assert stdout.endswith("readyz check failed\n")


def test_it_starts_without_what_only_the_daemon_needs():
    heavy = ("aiohttp", "prometheus_client", "numpy")
    code = (
        "import sys; from sidecar import cli;"
        f"cli.main(['check', '--server-url=127.0.0.1:{free_port()}']);"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    assert python("-c", code).stdout.splitlines()[-1] == "[]"
