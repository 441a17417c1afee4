"""Faults of the sidecar's own surroundings: starved, stopped, without disk or descriptors."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.faults.test_matrix import LOST, PATIENT, killed, recovers, revives, started, told, turns
from tests.faults.world import AT_ONCE, NEXT_ROUND, RECOVERED, STALE, Step, world
from tests.support import (
    clean_environment,
    free_port,
    http_get,
    missing,
    require_program,
    wait_until,
)
from tests.toy import ToyProcess

# As many as a twentieth of a core can just ask in time, here, and far more than a hundredth can.
HUNDREDS = [f"m{number}" for number in range(300)]

DAY = 86400

CPU = Path("/sys/fs/cgroup/cpu")
CPU_PERIOD = 1_000_000  # microseconds over which a share is meant, the most that the kernel takes


@pytest.fixture
def quota(tmp_path: Path) -> Iterator[Path]:
    """A control group whose share of a core is to be set."""
    group = CPU / f"sidecar-{os.getpid()}-{tmp_path.name}"
    try:
        group.mkdir()
    except OSError as error:
        missing(f"no control group can be made: {error}")
    yield group
    wait_until(lambda: not (group / "cgroup.procs").read_text())
    group.rmdir()


def test_a_sidecar_that_was_stopped_knows_that_it_knows_nothing(tmp_path, note):
    with world(tmp_path, *PATIENT) as w:
        w.sidecar.wait_for("/readyz", 200)
        w.sidecar.signal(signal.SIGSTOP)
        threading.Event().wait(STALE)
        w.toy.tell(live="silence")  # or one answer would make all well again
        stopped = Step(
            "goes on after SIGSTOP",
            lambda w: w.sidecar.signal(signal.SIGCONT),
            readyz=503,
            livez=503,
            within={"readyz": AT_ONCE, "livez": AT_ONCE},
            hold=0.2,
        )
        note(stopped.what, w.take(stopped))
        answers = recovers("the server answers", told())
        answers.within["livez"] = RECOVERED
        note(answers.what, w.take(answers))


def test_a_starved_sidecar_gets_no_server_restarted(tmp_path, note, quota):
    models = dict.fromkeys(HUNDREDS, True)
    with world(
        tmp_path, f"--models={','.join(models)}", "--concurrency=32", told={"models": models}
    ) as w:
        w.sidecar.wait_for("/readyz", 200)

        def has(percent: float) -> float:
            """Moves the sidecar; the moment from which it has no more than this of a core."""
            (quota / "cpu.cfs_quota_us").write_text(str(int(percent * CPU_PERIOD / 100)))
            (quota / "cgroup.procs").write_text(str(w.sidecar.process.pid))
            return time.monotonic()

        (quota / "cpu.cfs_period_us").write_text(str(CPU_PERIOD))
        seen = {"readyz": "either", "healthz": "200 throughout", "livez": "either"}
        try:
            start = has(percent=5)
            wait_until(lambda: len(w.watcher.since("healthz", start + STALE)) > 3, within=30)
            note("has 5 % of a core", seen)
            starved = has(percent=0.5)
            wait_until(lambda: w.watcher.failed_since("readyz", starved), within=40)
            note("has 0.5 % of a core", seen | {"readyz": "503 in the end"})
            assert not w.watcher.failed_since("healthz", start)
        finally:
            (CPU / "cgroup.procs").write_text(str(w.sidecar.process.pid))
        fed = recovers("has what it needs", lambda _: None, NEXT_ROUND + RECOVERED)
        fed.within["livez"] = NEXT_ROUND
        note(fed.what, w.take(fed))


def test_without_descriptors_it_goes_on_asking_and_answers_when_there_are_some(tmp_path, note):
    with world(tmp_path) as w:
        w.sidecar.wait_for("/readyz", 200)
        pid = w.sidecar.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        polls = 'inference_polls_total{rpc="ServerLive"}'
        asked = w.sidecar.metric(polls)
        taken = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(taken, 3), before[1]))
        threading.Event().wait(3)  # whoever asks now waits
        back = recovers(
            "has descriptors again",
            lambda _: resource.prlimit(pid, resource.RLIMIT_NOFILE, before),
            2,
        )
        note(back.what, w.take(back))
        assert w.sidecar.metric(polls) >= asked + 3


def test_a_full_disk_under_its_log_does_not_end_it(note):
    port = free_port()
    command = [sys.executable, "-m", "sidecar", f"--http-port={port}", "--drain-seconds=0"]
    with ToyProcess(models={"a": True}) as toy, Path("/dev/full").open("w") as full:
        command += [f"--server-url={toy.url}", "--models=a", "--log-level=debug"]
        with subprocess.Popen(command, stderr=full, env=clean_environment()) as process:
            try:
                wait_until(lambda: _status(port, "readyz") == 200)
                toy.kill()
                wait_until(lambda: _status(port, "healthz") == 503)
                toy.start()
                wait_until(lambda: _status(port, "readyz") == 200)
            finally:
                process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
    seen = dict.fromkeys(("readyz", "healthz", "livez"), "as with room on the disk")
    note("killed and started, each poll logged", seen)


def _status(port: int, endpoint: str) -> int:
    try:
        return http_get(port, f"/{endpoint}").status
    except OSError:
        return 0


def test_a_certificate_that_has_expired_says_nothing_of_the_servers_life(tmp_path, note):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    now = datetime.now(UTC)
    for name, until in (("good", now + timedelta(days=1)), ("old", now - timedelta(days=1))):
        leaf = authority.issue_cert(
            "127.0.0.1", not_before=now - timedelta(days=2), not_after=until
        )
        leaf.private_key_pem.write_to_path(tmp_path / f"{name}.key")
        leaf.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")

    def pair(name: str) -> dict[str, str]:
        return {"cert": str(tmp_path / f"{name}.pem"), "key": str(tmp_path / f"{name}.key")}

    def renew(name: str) -> None:
        w.toy.kill()
        w.toy.made = pair(name)
        w.toy.start()

    flags = (f"--tls-ca-file={tmp_path / 'ca.pem'}", *PATIENT)
    with world(tmp_path, *flags, host="grpcs://127.0.0.1", made=pair("good")) as w:
        w.sidecar.wait_for("/readyz", 200)
        for step in (
            turns("serves with an expired certificate", lambda _: renew("old"), readyz=AT_ONCE),
            recovers("serves with a good one", lambda _: renew("good")),
        ):
            note(step.what, w.take(step))
        assert w.sidecar.metric('inference_poll_failures_total{reason="tls",rpc="ServerLive"}')


def test_a_name_that_no_longer_resolves_breaks_no_connection_that_stands(tmp_path, note):
    if os.geteuid() != 0:
        missing("only root can mount another /etc/hosts")
    hosts = tmp_path / "hosts"

    def resolves(there: bool) -> None:
        hosts.write_text("127.0.0.1 localhost\n" + "127.0.0.1 server.test\n" * there)

    resolves(there=True)
    mount = f'mount --bind {hosts} /etc/hosts && exec "$@"'
    program = ("unshare", "-m", "sh", "-c", mount, "sh", sys.executable, "-m", "sidecar")
    with world(tmp_path, host="server.test", program=program) as w:
        w.sidecar.wait_for("/readyz", 200)
        for step in (
            Step("the name is gone", lambda _: resolves(there=False), readyz=200, hold=3),
            turns("the server is killed", killed, **LOST),
            # Its address is still known: a name that is gone proves nothing.
            revives("it is started", started),
            recovers("the name is back", lambda _: resolves(there=True)),
        ):
            note(step.what, w.take(step))


def test_steps_of_the_wall_clock_change_nothing(tmp_path, note):
    library, offset = tmp_path / "wall_clock.so", tmp_path / "ahead"
    source = Path(__file__).with_name("wall_clock.c")
    build = (require_program("cc"), "-shared", "-fPIC", "-o", library, source, "-ldl")
    subprocess.run(build, check=True)
    offset.write_bytes((0).to_bytes(8, sys.byteorder, signed=True))

    def steps(days: int) -> None:
        with offset.open("r+b") as file:
            file.write((days * DAY).to_bytes(8, sys.byteorder, signed=True))

    def moves(days: int) -> Step:
        return Step(f"by {days} days", lambda _: steps(days), readyz=200, hold=STALE)

    preloaded: dict[str, Any] = {"LD_PRELOAD": str(library), "WALL_CLOCK_AHEAD": str(offset)}
    answered = 'inference_last_success_timestamp_seconds{model="a",rpc="ModelReady",version=""}'
    with world(tmp_path, **preloaded) as w:
        w.sidecar.wait_for("/readyz", 200)
        for days in (1, -1000, 1000):
            moved = moves(days)
            note(moved.what, w.take(moved))
            ahead = w.sidecar.metric(answered) - time.time()
            assert abs(ahead - days * DAY) < 10
        killing = turns("the server is killed", killed, **LOST)
        note(killing.what, w.take(killing))


def test_told_to_stop_it_fails_readiness_in_that_moment_and_serves_the_rest(tmp_path, note):
    with world(tmp_path, "--drain-seconds=3") as w:
        w.sidecar.wait_for("/readyz", 200)
        drain = turns("SIGTERM", lambda w: w.sidecar.signal(signal.SIGTERM), readyz=AT_ONCE / 2)
        note(drain.what, w.take(drain))
        gone = turns("its server vanishes, too", killed, healthz=LOST["healthz"])
        seen = w.take(Step(gone.what, gone.do, 503, 503, within={"healthz": 2}, hold=0))
        note(gone.what, seen)
        assert w.sidecar.wait(5) == 0
        assert "Traceback" not in w.sidecar.log


def test_a_second_signal_ends_it_at_once(tmp_path, note):
    with world(tmp_path, "--drain-seconds=60") as w:
        w.sidecar.wait_for("/readyz", 200)
        drain = turns("SIGTERM", lambda w: w.sidecar.signal(signal.SIGTERM), readyz=AT_ONCE / 2)
        note(drain.what, w.take(drain))
        w.sidecar.signal(signal.SIGTERM)
        assert w.sidecar.wait(2) == 0


def test_a_name_with_two_addresses_hides_no_server_that_refuses(tmp_path, note):
    """Of the two, gRPC tries `::1` as well, and its error names the last address alone."""
    authority, other = trustme.CA(), trustme.CA()
    other.cert_pem.write_to_path(tmp_path / "ca.pem")
    leaf = authority.issue_cert("localhost")
    leaf.private_key_pem.write_to_path(tmp_path / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    made = {"cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}
    flags = f"--tls-ca-file={tmp_path / 'ca.pem'}"
    with world(tmp_path, flags, host="grpcs://localhost", made=made) as w:
        step = Step("an authority that is not trusted", lambda _: None, readyz=503, hold=6)
        note(step.what, w.take(step))
        assert "[-]server-live failed: tls\n" in w.sidecar.get("/readyz").text
        assert w.sidecar.failed_polls(but_for="tls") == 0
