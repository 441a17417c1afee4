"""The settings in force, what follows from them, and how others take their place."""

import logging
import time
from collections.abc import Collection
from functools import partial
from typing import Any

from prometheus_client.registry import CollectorRegistry

from sidecar import assembly
from sidecar.config import BadSettings, Settings
from sidecar.core import rules
from sidecar.core.checks import SERVER_LIVE, Answer
from sidecar.core.state import Health
from sidecar.history import History
from sidecar.loading import Loaded
from sidecar.outputs import log, prometheus
from sidecar.outputs.poll_counter import PollCounter
from sidecar.probes.prober import Prober, SwappableProber
from sidecar.scheduler import Poller
from sidecar.store import HealthStore

logger = logging.getLogger(__name__)

# What new settings cannot change, because the kubelet knows the old ones.
FIXED = ("http_host", "http_port")


class Runtime:
    """The settings in force and what follows from them; how others take their place.

    Nothing is asked before `start`, which brings what the settings' files hold.
    """

    prober: SwappableProber
    poller: Poller

    def __init__(self, settings: Settings, registry: CollectorRegistry) -> None:
        self.clock = time.monotonic
        self.settings = settings
        self.policy = settings.policy
        self.counter = PollCounter(time.time)
        self.loading = prometheus.Loading(registry)
        health = Health.initial(
            settings.checks, self.clock(), settings.liveness, settings.readiness
        )
        self.history = History(health.checks)
        self.store = HealthStore(health, [self.counter, log.log_transitions, self.history])
        self.loaded_at = self.clock()

    def start(self, loaded: Loaded) -> None:
        """Makes the poller; the settings are the ones that were given, with their files."""
        self.prober = SwappableProber(loaded.prober)
        self.poller = assembly.make_poller(
            self.store, assembly.schedule(loaded.settings), self.prober, self.clock
        )
        self._loaded(loaded)

    def judges(self) -> dict[str, rules.Judge]:
        """For each endpoint what its rule says at the moment of the call."""

        def judge(rule: rules.Rule, exclude: Collection[str] = ()) -> rules.Verdict:
            return rule(self.store.health, self.clock(), self.policy, exclude)

        return {endpoint: partial(judge, rule) for endpoint, rule in rules.ENDPOINTS.items()}

    async def apply(self, loaded: Loaded) -> None:
        """Puts settings in force, or raises BadSettings and leaves everything as it was.

        They come with a connection of their own, which has to be as good as
        the one in use: ServerLive is answered over it, unless it is not over
        the other one either. It is closed when it is not taken.
        """
        try:
            await self._try(loaded.prober)
        except BaseException:
            await loaded.prober.close()
            raise
        kept = {name: getattr(self.settings, name) for name in FIXED}
        fixed = [name for name, value in kept.items() if getattr(loaded.settings, name) != value]
        settings = loaded.settings.model_copy(update=kept)
        health = self.store.health
        now = self.clock()
        has_started = rules.startup(health, now, self.policy).passing
        other_server = _target(settings) != _target(self.settings)
        self.settings, self.policy = settings, settings.policy
        health = health._replace(has_started=has_started)
        health = health.asking(settings.checks, now, settings.liveness, settings.readiness)
        self.store.reload(health.forget(now) if other_server else health, other_server=other_server)
        self.poller.schedule = assembly.schedule(settings)
        log.configure(settings.log_level, settings.log_format)
        self._loaded(loaded)
        logger.info("configuration reloaded", extra={"fields": summary(settings)})
        for name in fixed:
            logger.warning("%s cannot change at runtime; keeping %r", name, kept[name])
        await self.prober.replace(loaded.prober, other_server=other_server)

    async def _try(self, candidate: Prober) -> None:
        """Asks over a new connection; BadSettings when it is worse than the one in use."""
        try:
            answer = (await candidate.ask(SERVER_LIVE)).answer
        except ValueError as error:  # a token that cannot be sent, replaced since it was validated
            raise BadSettings([f"a file has changed meanwhile: {error}"]) from None
        if answer is not Answer.OK and self.store.health.live.answer is Answer.OK:
            text = (
                f"ServerLive is answered with {answer} over a new connection, with ok over the old"
            )
            raise BadSettings([text])

    def _loaded(self, loaded: Loaded) -> None:
        self.loaded_at = self.clock()
        self.loading.succeeded(time.time(), loaded.expiry)
        for name, path in loaded.world_readable.items():
            logger.warning("%s: %s is world-readable", name, path)


def _target(settings: Settings) -> tuple[str | None, ...]:
    """What tells one server from another."""
    # A server name is sent as the authority where there is none.
    authority = settings.authority or settings.tls_server_name
    return settings.server_url, settings.grpc_service, authority


def summary(settings: Settings) -> dict[str, Any]:
    """What a log line says about settings."""
    return {"server_url": settings.server_url, "models": len(settings.models)}
