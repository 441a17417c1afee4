"""The composition root: builds every part, applies new settings, and stops in order.

To add an output, write it as an observer of the store or a reader of snapshots,
and create it here.
"""

import asyncio
import logging
import os
import random
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sidecar import __version__
from sidecar.blocking import BlockingCalls
from sidecar.canary_loop import CanaryLoop, import_all
from sidecar.config import BadSettings, Settings, files, variable_warnings
from sidecar.config.files import Loaded
from sidecar.config.hints import hints, service_hint
from sidecar.config.watch import Reloader
from sidecar.core.checks import SERVER_LIVE
from sidecar.core.reasons import Reason
from sidecar.core.repository import Repository
from sidecar.core.rules import startup
from sidecar.core.snapshot import Snapshot
from sidecar.core.state import Health
from sidecar.core.target import Server
from sidecar.discovery import Discovery
from sidecar.history import History
from sidecar.lifecycle import Requests, work
from sidecar.outputs import log, process_metrics, prometheus
from sidecar.outputs.http import app, status
from sidecar.outputs.http.server import HttpServer, address
from sidecar.outputs.poll_counter import PollCounter
from sidecar.probes.identity import Identity
from sidecar.probes.prober import Prober, SwappableProber
from sidecar.probes.repository import index
from sidecar.scheduler import Scheduler
from sidecar.store import HealthStore, Observer

if TYPE_CHECKING:
    from sidecar.outputs.grpc_health import GrpcHealth
    from sidecar.outputs.kubernetes import KubernetesEvents

logger = logging.getLogger(__name__)

# Settings that a reload cannot change: the kubelet knows the old ports, and the pod is the same.
FIXED = ("http_host", "http_port", "grpc_port", "kubernetes_events", "pod_name", "pod_uid")

# Seconds for reading the settings and all their files.
FILES_DEADLINE = 60


class Runtime:
    """The current settings, and every part that is created from them.

    loaded:  the settings at the start, and their files.
    load:    returns the settings again when a file has changed.
    config:  the settings file that `load` reads, if any.

    No check runs before `run`.
    """

    def __init__(
        self, loaded: Loaded, load: Callable[[], Settings], config: Path | None = None
    ) -> None:
        _import_for(loaded)
        self._loaded = loaded
        self._config = config
        self._read = partial(_read, load, config)
        self.settings = settings = loaded.settings
        self._policy = settings.policy
        self._clock = time.monotonic
        self._discovery = Discovery(
            lambda: self.settings.discovery_rules,
            index=lambda: index(self._loaded.target),
            store=lambda: self.store,
            changed=self._check_discovered,
            clock=self._clock,
            sleep=asyncio.sleep,
        )
        self._counter = PollCounter(time.time)
        self.prober = SwappableProber(Prober(loaded.target, self._clock))
        self._identity = Identity(
            self.prober.identify,
            self._log_server,
            lambda: logger.warning("%s", service_hint(self.settings)),
        )
        self._canaries = CanaryLoop(lambda: self.store, self.snapshot, self._clock)
        self._grpc_health = _grpc_health(settings, self.snapshot)
        watchers = self._grpc_health.count_watchers if self._grpc_health else int
        self._events = _kubernetes_events(settings, self.snapshot)
        self._registry = process_metrics.process_registry(
            log.lines_dropped,
            watchers,
            lambda: self._identity.server,
            lambda: self._discovery.repository,
            self._events.results if self._events else dict,
        )
        self._reloads = process_metrics.Reloads(self._registry)
        thresholds = settings.liveness, settings.readiness
        health = Health.initial((), self._clock(), *thresholds, loaded.judging)
        health = self._asking(health, loaded)
        self.history = History(health.checks)
        observers: list[Observer] = [self._counter, log.log_change, self.history]
        observers += [self._canaries, self._identity, self._discovery]
        if self._grpc_health:
            observers.append(self._grpc_health)
        if self._events:
            observers.append(self._events)
        self.store = HealthStore(health, observers)
        self.scheduler = Scheduler(
            self.store,
            settings.schedule,
            ask=self.prober.ask,
            wait_changed=self.prober.wait_changed,
            clock=self._clock,
            sleep=asyncio.sleep,
            uniform=random.uniform,
        )
        self._in_force(loaded)

    def snapshot(self) -> Snapshot:
        """Return health, time and policy of this moment."""
        return Snapshot(self.store.health, self._clock(), self._policy)

    async def run(self, bound: socket.socket, requests: Requests) -> None:
        """Run the daemon until a stop is requested. Any exception is a bug.

        The endpoints start first, so that they answer at once; then polling and
        the watching of files.
        """
        server = HttpServer(app.build_app(self.snapshot, self._status, self._scrape))
        await server.start(bound)
        jobs = [self._poll(requests.reload), server.tend()]
        if self._grpc_health:
            jobs.append(self._grpc_health.serve())
        if self._events:
            jobs.append(self._events.run())
        try:
            self._announce(bound)
            await work(jobs, requests, self._drain)
        finally:
            await server.close()
        logger.info("stopped")

    async def apply(self, loaded: Loaded) -> None:
        """Apply settings, or raise BadSettings and change nothing.

        A new connection is tried first. It must be as good as the current one:
        ServerLive must be answered, unless it is not answered on the current one
        either. A new connection that is not used is closed.
        """
        candidate = Prober(loaded.target, self._clock)
        try:
            await self._try(candidate, loaded.settings.timeout_seconds)
        except BaseException:
            await candidate.close()
            raise
        kept = {name: getattr(self.settings, name) for name in FIXED}
        fixed = [name for name, value in kept.items() if getattr(loaded.settings, name) != value]
        settings = loaded.settings.model_copy(update=kept)
        has_started = startup(self.snapshot()).passing
        other_server = not loaded.target.is_same_server(self._loaded.target)
        now = self._clock()
        self.settings, self._policy = settings, settings.policy
        if other_server:
            self._discovery.forget()
        health = self.store.health._replace(has_started=has_started)
        health = self._asking(health, loaded)
        before = self._loaded.canaries
        health = health.with_other_payloads(
            check for check, given in loaded.canaries.items() if before.get(check, given) != given
        )
        self.store.reload(health.forget(now) if other_server else health, other_server=other_server)
        self.scheduler.schedule = settings.schedule
        log.configure(settings.log_level, settings.log_format)
        self._in_force(loaded)
        logger.info("configuration reloaded", extra={"fields": _summary(settings)})
        for name in fixed:
            logger.warning("%s cannot change at runtime; keeping %r", name, kept[name])
        await self.prober.replace(candidate, other_server=other_server)

    async def _try(self, candidate: Prober, deadline: float) -> None:
        """Probe over a new connection; raise BadSettings if it is worse than the current one."""
        try:
            answer = (await candidate.ask(SERVER_LIVE, deadline)).reason
        except ValueError as error:  # the token has changed since its validation
            raise BadSettings([f"a file has changed meanwhile: {error}"]) from None
        if answer is not Reason.OK and self.store.health.live.last_reason is Reason.OK:
            new = f"ServerLive is answered with {answer} over a new connection"
            raise BadSettings([f"{new}, with ok over the old"])

    def _check_discovered(self, _: Repository) -> None:
        """Check the models that are in the repository now."""
        self.store.change_checks(self._asking(self.store.health, self._loaded))
        self._canaries.replace(self._loaded, self._discovery.discovered.canaries)

    def _asking(self, health: Health, loaded: Loaded) -> Health:
        """Return the health with the checks of the settings and of discovery."""
        settings, discovered = loaded.settings, self._discovery.discovered
        health = health.asking(
            (*loaded.checks, *discovered.checks, *discovered.canaries),
            self._clock(),
            settings.liveness,
            settings.readiness,
            loaded.judging,
        )
        return health.discovering(discovered)

    def _in_force(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._canaries.replace(loaded, self._discovery.discovered.canaries)
        self._loaded_at = self._clock()
        self._reloads.succeeded(time.time(), loaded.expiry)
        for name, path in loaded.world_readable.items():
            logger.warning("%s: %s is world-readable", name, path)

    async def _poll(self, reload: asyncio.Event) -> None:
        """Poll the server, and watch the files."""
        reloader = Reloader(
            self._loaded,
            self._config,
            BlockingCalls("reading the settings and their files", FILES_DEADLINE),
            reload,
            load=self._read,
            apply=self.apply,
            refused=self._reloads.failed,
        )
        try:
            jobs = (self.scheduler, reloader, self._canaries, self._identity, self._discovery)
            await asyncio.gather(*(job.run() for job in jobs))
        finally:
            await self.prober.close()

    def _drain(self) -> float:
        """Begin the drain and return its seconds."""
        self.store.drain()
        return self.settings.drain_seconds

    def _status(self) -> Callable[[], bytes]:
        sidecar = status.Sidecar(
            __version__,
            self.settings.server_url,
            self._identity.server,
            self._reloads.successful,
            self._loaded_at,
            self._discovery.repository if self.settings.discover else None,
        )
        return partial(status.encode, self.snapshot(), self.history.pasts(), sidecar)

    def _log_server(self, server: Server) -> None:
        fields = server._asdict()
        logger.info("the inference server is %s %s", *server, extra={"fields": fields})
        for hint in hints(self.settings, server, has_canaries=bool(self._loaded.canaries)):
            logger.info("%s: %s; see docs/servers.md", server.name, hint)

    def _scrape(self) -> prometheus.Scrape:
        return prometheus.Scrape(self.snapshot(), self._counter.counts(), self._registry)

    def _announce(self, bound: socket.socket) -> None:
        for warning in variable_warnings(os.environ):
            logger.warning("%s", warning)
        port = bound.getsockname()[1]
        fields = {"address": address(bound), "port": port, **_summary(self.settings)}
        logger.info("sidecar %s is listening", __version__, extra={"fields": fields})


def _grpc_health(settings: Settings, snapshot: Callable[[], Snapshot]) -> "GrpcHealth | None":
    if settings.grpc_port is None:
        return None
    from sidecar.outputs.grpc_health import GrpcHealth

    return GrpcHealth(snapshot, settings.http_host, settings.grpc_port)


def _kubernetes_events(
    settings: Settings, snapshot: Callable[[], Snapshot]
) -> "KubernetesEvents | None":
    if not settings.kubernetes_events:
        return None
    from sidecar.outputs.kubernetes import ApiServer, KubernetesEvents, Pod, in_cluster_url

    pod = Pod(settings.pod_name or "", settings.pod_uid or "")
    return KubernetesEvents(snapshot, pod, ApiServer(in_cluster_url(os.environ)))


def _read(load: Callable[[], Settings], config: Path | None) -> Loaded:
    """Read the settings and their files, and import what they need; called in a thread."""
    loaded = files.read(load, config)
    _import_for(loaded)
    return loaded


def _import_for(loaded: Loaded) -> None:
    """Import what canaries need, so that no import blocks the event loop later."""
    if loaded.canaries or (loaded.settings.discover and loaded.settings.canary == "auto"):
        import_all()


def _summary(settings: Settings) -> dict[str, Any]:
    """Return the settings for a log line."""
    return {"server_url": settings.server_url, "models": len(settings.models)}
