"""The settings in force, what follows from them, and how others take their place."""

import logging
import stat
import time
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client.registry import CollectorRegistry

from sidecar import assembly, logs, metrics
from sidecar.board import Board
from sidecar.certificates import latest_expiry, leaf_expiry
from sidecar.health import verdict
from sidecar.health.checks import SERVER_LIVE, Answer
from sidecar.health.state import Health
from sidecar.history import History
from sidecar.poll_counter import PollCounter
from sidecar.prober import Link
from sidecar.settings import BadSettings, Settings

logger = logging.getLogger(__name__)

# What new settings cannot change, because the kubelet knows the old ones.
FIXED = ("http_host", "http_port")


class Force:
    """The settings in force and what follows from them; how others take their place."""

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        self.clock = time.monotonic
        self.settings = settings
        self.policy = settings.policy
        self.counter = PollCounter(time.time)
        self.loading = metrics.Loading(registry)
        health = Health.initial(
            settings.checks, self.clock(), settings.liveness, settings.readiness
        )
        self.history = History(health.checks)
        self.board = Board(health, [self.counter, logs.log_transitions, self.history])
        self.link = Link(assembly.make_prober(settings, self.clock))
        self.poller = assembly.make_poller(
            self.board, assembly.schedule(settings), self.link, self.clock
        )
        self._loaded(_expiry(settings))

    def judges(self) -> dict[str, verdict.Judge]:
        """For each endpoint what its rule says at the moment of the call."""

        def judge(rule: verdict.Rule, exclude: Collection[str] = ()) -> verdict.Verdict:
            return rule(self.board.health, self.clock(), self.policy, exclude)

        return {endpoint: partial(judge, rule) for endpoint, rule in verdict.ENDPOINTS.items()}

    async def apply(self, settings: Settings) -> None:
        """Puts settings in force, or raises BadSettings and leaves everything as it was.

        They come with a connection of their own, which has to be as good as
        the one in use: ServerLive is answered over it, unless it is not over
        the other one either.
        """
        kept = {name: getattr(self.settings, name) for name in FIXED}
        fixed = [name for name, value in kept.items() if getattr(settings, name) != value]
        settings = settings.model_copy(update=kept)
        try:
            expiry = _expiry(settings)
            candidate = assembly.make_prober(settings, self.clock)
            answer = (await candidate.ask(SERVER_LIVE)).answer
        except ValueError as error:  # replaced once more since it was validated
            raise BadSettings([f"a file has changed meanwhile: {error}"]) from None
        health = self.board.health
        if answer is not Answer.OK and health.live.answer is Answer.OK:
            await candidate.close()
            text = (
                f"ServerLive is answered with {answer} over a new connection, with ok over the old"
            )
            raise BadSettings([text])
        now = self.clock()
        has_started = verdict.startup(health, now, self.policy).passing
        other_server = _target(settings) != _target(self.settings)
        self.settings, self.policy = settings, settings.policy
        health = health._replace(has_started=has_started)
        health = health.asking(settings.checks, now, settings.liveness, settings.readiness)
        self.board.reload(health.forget(now) if other_server else health, other_server=other_server)
        self.poller.schedule = assembly.schedule(settings)
        logs.configure(settings.log_level, settings.log_format)
        self._loaded(expiry)
        logger.info("the settings are loaded anew", extra={"fields": summary(settings)})
        for name in fixed:
            logger.warning("%s stays %r until the next start", name, kept[name])
        await self.link.replace(candidate, other_server=other_server)

    def _loaded(self, expiry: Mapping[str, float]) -> None:
        self.loaded_at = self.clock()
        self.loading.succeeded(time.time(), expiry)
        for name in ("tls_key_file", "bearer_token_file"):
            path = self.settings.files.get(name)
            if path is not None and _is_open_to_all(path):
                logger.warning("%s: everybody on this machine may read %s", name, path)


def _expiry(settings: Settings) -> dict[str, float]:
    """The Unix time at which each TLS file expires."""
    expiry = {}
    if settings.tls_ca_file is not None:
        expiry["ca"] = latest_expiry(settings.tls_ca_file)
    if settings.tls_cert_file is not None:
        expiry["cert"] = leaf_expiry(settings.tls_cert_file)
    return expiry


def _is_open_to_all(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:  # it is being replaced, and will be looked at again
        return False


def _target(settings: Settings) -> tuple[str, ...]:
    """What tells one server from another."""
    return settings.server_url, settings.grpc_service


def summary(settings: Settings) -> dict[str, Any]:
    """What a log line tells of settings."""
    return {"server_url": settings.server_url, "models": len(settings.models)}
