"""What Prometheus sees: every series from the start, true at scrape time, gone with its model."""

import math
import platform

import grpc
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.samples import Sample

from sidecar import __version__
from sidecar.core.checks import SERVER_LIVE, SERVER_READY
from sidecar.core.reasons import Reason
from sidecar.core.repository import Repository
from sidecar.core.snapshot import Policy, Snapshot
from sidecar.core.target import Server
from sidecar.outputs.poll_counter import PollCounter
from sidecar.outputs.process_metrics import Reloads, process_registry
from sidecar.outputs.prometheus import Scrape
from sidecar.store import HealthStore
from tests.core.folding import CHECKS, A, B, initial, saw

RPCS = ("ServerLive", "ServerReady", "ModelReady")


class Page:
    """A store, and what a scrape of it gives."""

    def __init__(self) -> None:
        self.now = 0.0
        self.wall = 1_700_000_000.0
        self.registry = CollectorRegistry()
        self.counter = PollCounter(lambda: self.wall)
        self.store = HealthStore(initial(), [self.counter])

    def see(self, check, answer, at=0.0) -> None:
        self.now = at
        self.store.record(saw(check, answer, at))

    def scrape(self) -> Scrape:
        snapshot = Snapshot(self.store.health, self.now, Policy(max_age=10))
        return Scrape(snapshot, self.counter.counts(), self.registry)

    def samples(self) -> list[Sample]:
        return [sample for family in self.scrape().collect() for sample in family.samples]

    def value(self, name: str, **labels: str) -> float | None:
        found = (s.value for s in self.samples() if (s.name, s.labels) == (name, labels))
        return next(found, None)


@pytest.fixture
def page() -> Page:
    return Page()


def model(check) -> dict[str, str]:
    return {"model": check.model, "version": check.version}


def test_every_known_series_is_there_from_the_start(page):
    assert page.value("inference_server_live") == 0
    assert page.value("inference_server_ready") == 0
    assert page.value("inference_model_ready", **model(A)) == 0
    assert page.value("inference_model_ready", **model(B)) == 0
    assert math.isnan(page.value("inference_model_time_to_ready_seconds", **model(A)))
    for rpc in RPCS:
        assert page.value("inference_polls_total", rpc=rpc) == 0
        assert page.value("inference_poll_duration_seconds_count", rpc=rpc) == 0
        for reason in set(Reason) - {"ok", "model_not_found", "invalid_request", "wrong_output"}:
            assert page.value("inference_poll_failures_total", rpc=rpc, reason=reason) == 0
    for check in CHECKS:
        labels = {"rpc": check.rpc, **model(check)}
        assert page.value("inference_status_transitions_total", **labels) == 0
        assert page.value("inference_last_success_timestamp_seconds", **labels) == 0
    assert page.value("inference_restarts_requested_total") == 0
    assert page.value("inference_restarts_withheld_total") == 0
    missing = {"rpc": "ModelReady", "reason": "model_not_found"}
    assert page.value("inference_poll_failures_total", **missing) == 0


def test_gauges_follow_the_board(page):
    for check in (SERVER_LIVE, SERVER_READY, A):
        page.see(check, "ok")
    assert page.value("inference_server_live") == 1
    assert page.value("inference_server_ready") == 1
    assert page.value("inference_model_ready", **model(A)) == 1
    assert page.value("inference_model_ready", **model(B)) == 0
    page.see(A, "not_ready")
    assert page.value("inference_model_ready", **model(A)) == 0


def test_server_live_is_the_liveness_that_a_restart_hangs_on(page):
    page.see(SERVER_LIVE, "ok")
    page.see(SERVER_LIVE, "unreachable")
    assert page.value("inference_server_live") == 1
    page.see(SERVER_LIVE, "unreachable")
    page.see(SERVER_LIVE, "unreachable")
    assert page.value("inference_server_live") == 0
    labels = {"rpc": "ServerLive", "model": "", "version": ""}
    assert page.value("inference_status_transitions_total", **labels) == 2


def test_a_ready_model_whose_answer_is_old_is_not_ready(page):
    page.see(A, "ok", at=5)
    page.now = 15
    assert page.value("inference_model_ready", **model(A)) == 1
    page.now = 15.1
    assert page.value("inference_model_ready", **model(A)) == 0


def test_polls_and_failures_are_counted(page):
    for answer in ("ok", "not_ready", "timeout", "timeout"):
        page.see(A, answer)
    assert page.value("inference_polls_total", rpc="ModelReady") == 4
    assert page.value("inference_poll_duration_seconds_count", rpc="ModelReady") == 4
    assert page.value("inference_poll_duration_seconds_sum", rpc="ModelReady") == pytest.approx(
        0.004
    )
    failures = {
        reason: page.value("inference_poll_failures_total", rpc="ModelReady", reason=reason)
        for reason in ("not_ready", "timeout", "error")
    }
    assert failures == {"not_ready": 1, "timeout": 2, "error": 0}


def test_another_reason_is_no_transition(page):
    for answer in ("ok", "denied", "error"):
        page.see(A, answer)
    labels = {"rpc": "ModelReady", **model(A)}
    assert page.value("inference_status_transitions_total", **labels) == 2


def test_an_inherited_answer_is_no_poll(page):
    page.see(SERVER_LIVE, "unreachable")
    assert page.value("inference_polls_total", rpc="ServerLive") == 1
    assert page.value("inference_polls_total", rpc="ModelReady") == 0
    assert page.value("inference_status_transitions_total", rpc="ModelReady", **model(A)) == 1


def test_last_success_is_wall_clock_and_time_to_ready_is_not(page):
    page.see(A, "not_ready", at=1)
    page.wall += 1000
    page.see(A, "ok", at=7)
    page.wall += 1000
    page.see(A, "timeout", at=8)
    labels = {"rpc": "ModelReady", **model(A)}
    assert page.value("inference_last_success_timestamp_seconds", **labels) == 1_700_001_000
    assert page.value("inference_model_time_to_ready_seconds", **model(A)) == 7


def test_time_to_ready_is_of_the_server_that_runs_now(page):
    page.see(SERVER_LIVE, "ok", at=1)
    page.see(A, "ok", at=2)
    page.see(SERVER_LIVE, "unreachable", at=100)
    assert math.isnan(page.value("inference_model_time_to_ready_seconds", **model(A)))
    page.see(SERVER_LIVE, "unreachable", at=101)
    page.see(SERVER_LIVE, "ok", at=130)
    page.see(A, "ok", at=140)
    assert page.value("inference_model_time_to_ready_seconds", **model(A)) == 40


def test_the_endpoints_verdicts_are_shown(page):
    verdicts = {e: page.value("inference_health_passing", probe=e) for e in ("healthz", "readyz")}
    assert verdicts == {"healthz": 1, "readyz": 0}


def test_no_series_outlives_its_model(page):
    page.see(A, "ok")
    page.see(A, "not_ready")
    page.store.reload(initial(SERVER_LIVE, SERVER_READY, B), other_server=False)
    assert [sample for sample in page.samples() if sample.labels.get("model") == "a"] == []


def test_a_loading_shows_when_it_was_and_what_expires(page):
    loading = Reloads(page.registry)
    successful = "inference_sidecar_config_last_reload_successful"
    at = "inference_sidecar_config_last_reload_success_timestamp_seconds"
    expiry = "inference_tls_certificate_expiry_timestamp_seconds"
    loading.succeeded(789, {"ca": 123.0, "cert": 456.0})
    assert (page.value(successful), page.value(at)) == (1, 789)
    assert [page.value(expiry, file=file) for file in ("ca", "cert")] == [123, 456]
    loading.failed()
    assert (page.value(successful), page.value(at)) == (0, 789)
    loading.succeeded(800, {"ca": 124.0})
    assert (page.value(successful), page.value(at)) == (1, 800)
    assert [page.value(expiry, file=file) for file in ("ca", "cert")] == [124, None]


def test_what_belongs_to_a_check_that_is_no_longer_asked_is_forgotten(page):
    for answer in ("ok", "not_ready"):
        page.see(A, answer)
        page.see(B, answer)
    page.store.reload(initial(A), other_server=False)
    counts = page.counter.counts()
    assert (list(counts.transitions), list(counts.last_success)) == ([A], [A])


def test_a_result_of_a_check_that_was_removed_while_it_was_asked_is_not_counted(page):
    page.store.reload(initial(SERVER_LIVE, SERVER_READY, A), other_server=False)
    page.see(B, "ok")
    counts = page.counter.counts()
    assert (counts.polls["ModelReady"], list(counts.last_success)) == ([0] * 15, [])


def test_what_another_server_answered_is_no_success_of_this_one(page):
    page.see(A, "ok", at=5)
    page.store.reload(page.store.health.forget(6), other_server=True)
    labels = {"rpc": "ModelReady", **model(A)}
    assert page.value("inference_last_success_timestamp_seconds", **labels) == 0
    assert page.value("inference_model_ready", **model(A)) == 0
    assert page.value("inference_polls_total", rpc="ModelReady") == 1


def test_a_scrape_is_of_one_moment_whatever_happens_while_it_is_written(page):
    page.see(SERVER_LIVE, "ok")
    families = page.scrape().collect()
    next(families)
    for _ in range(3):
        page.see(SERVER_LIVE, "unreachable", at=50)
    samples = [sample for family in families for sample in family.samples]
    live = next(s.value for s in samples if s.name == "inference_server_live")
    passing = {s.labels["probe"]: s.value for s in samples if s.name == "inference_health_passing"}
    changes = next(s.value for s in samples if s.name == "inference_status_transitions_total")
    assert (live, passing["healthz"], passing["livez"], changes) == (1, 1, 1, 1)


def test_what_is_known_of_the_process_is_shown(page):
    page.registry = process_registry(lambda: 0, lambda: 0, Server, Repository, dict)
    build = {
        "version": __version__,
        "python": platform.python_version(),
        "grpcio": grpc.__version__,
    }
    assert page.value("inference_sidecar_build_info", **build) == 1
    assert page.value("process_start_time_seconds") > 0
    assert [sample.name for sample in page.samples() if sample.name.endswith("_created")] == []
