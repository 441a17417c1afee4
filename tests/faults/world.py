"""What a fault happens to: a server, a path to it, a sidecar, and someone who watches it."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from tests.faults.proxy import Proxy
from tests.support import Sidecar, http_get, running_sidecar
from tests.toy import ToyProcess

PERIOD, RECOVERY, TIMEOUT = 1.0, 0.2, 0.4
SETTINGS = {"period": PERIOD, "recovery-period": RECOVERY, "timeout": TIMEOUT}

# By when something shows. Each is the sidecar's own bound and half a second for
# this machine, whose two cores also run the server and whoever watches.
SLACK = 0.5
AT_ONCE = SLACK
NEXT_ROUND = PERIOD * 1.05 + TIMEOUT + SLACK
THREE_TIMEOUTS = PERIOD * 1.05 + 3 * TIMEOUT + SLACK
THREE_REFUSALS = 3 * RECOVERY * 1.05 + SLACK
RECOVERED = RECOVERY * 1.05 + 2 * TIMEOUT + SLACK
STALE = 3 * PERIOD + TIMEOUT + SLACK

# How long a state is watched once it has been reached.
HOLD = 0.6

ENDPOINTS = ("readyz", "healthz", "livez")


@dataclass(frozen=True)
class Step:
    """One thing that happens, and what each endpoint must say from when on.

    `within` gives for an endpoint the seconds, from when it has happened, in
    which it must come to say so and stay with it; one that is not there must
    never say anything else.
    """

    what: str
    do: Callable[["World"], object]
    readyz: int
    healthz: int = 200
    livez: int = 200
    within: dict[str, float] = field(default_factory=dict)
    hold: float = HOLD


class Watcher:
    """Asks each endpoint again and again, as fast as three kubelets, and remembers the answers."""

    def __init__(self, port: int) -> None:
        self.seen: dict[str, list[tuple[float, int]]] = {name: [] for name in ENDPOINTS}
        self._port = port
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._watch, args=(e,)) for e in ENDPOINTS]

    def _watch(self, endpoint: str) -> None:
        while not self._ended.wait(0.01):
            with contextlib.suppress(OSError):
                asked = time.monotonic()
                self.seen[endpoint].append((asked, http_get(self._port, f"/{endpoint}").status))

    def since(self, endpoint: str, start: float) -> list[tuple[float, int]]:
        """What it answered to what was asked from this moment on."""
        return [(at, status) for at, status in tuple(self.seen[endpoint]) if at >= start]

    def failed_since(self, endpoint: str, start: float) -> bool:
        """Whether it failed since this moment."""
        return any(status != 200 for _, status in self.since(endpoint, start))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()


@dataclass
class World:
    """Everything that a fault can lay hands on."""

    toy: ToyProcess
    proxy: Proxy
    sidecar: Sidecar
    watcher: Watcher
    folder: Path

    def take(self, step: Step) -> dict[str, str]:
        """Does it; what each endpoint came to say and when, or a failure."""
        wanted = {"readyz": step.readyz, "healthz": step.healthz, "livez": step.livez}
        start = time.monotonic()
        step.do(self)
        done = time.monotonic()
        told = {}
        for endpoint, status in wanted.items():
            within = step.within.get(endpoint)
            if within is not None:
                took = self._reached(endpoint, status, done, within, step.what)
                told[endpoint] = f"{status} after {took:.2f} s (bound {within:.2f} s)"
        reached = time.monotonic()
        self._sleep_until(reached + step.hold)
        for endpoint, status in wanted.items():
            from_ = reached if endpoint in step.within else start
            others = [
                (round(at - start, 3), seen)
                for at, seen in self.watcher.since(endpoint, from_)
                if seen != status
            ]
            assert not others, f"{step.what}: /{endpoint} is not always {status}: {others[:5]}"
            told.setdefault(endpoint, f"{status} throughout")
        return told

    def _reached(self, endpoint: str, status: int, start: float, within: float, what: str) -> float:
        """After how many seconds it said so, to stay with it."""
        while time.monotonic() < start + within + HOLD:
            answers = self.watcher.since(endpoint, start)
            wrong = [at for at, seen in answers if seen != status]
            right = [at for at, seen in answers if seen == status]
            last_wrong = max(wrong, default=start)
            first = next((at for at in right if at >= last_wrong), None)
            if first is not None:
                took = first - start
                assert took <= within, f"{what}: /{endpoint} is {status} after {took:.2f} s only"
                return took
            self._sleep_until(time.monotonic() + 0.02)
        last = self.watcher.since(endpoint, start)[-3:]
        pytest.fail(f"{what}: /{endpoint} is not {status} within {within:.2f} s, but {last}")

    def _sleep_until(self, moment: float) -> None:
        threading.Event().wait(max(0, moment - time.monotonic()))


@contextlib.contextmanager
def world(
    folder: Path,
    *flags: str,
    started: bool = True,
    told: dict[str, Any] | None = None,
    made: dict[str, Any] | None = None,
    host: str = "127.0.0.1",
    **options: Any,
) -> Iterator[World]:
    """A server with the models a and b, a proxy before it, and a sidecar that asks through that."""
    toy = ToyProcess(made, **(told or {"models": {"a": True, "b": True}}))
    models = () if any(flag.startswith("--models") for flag in flags) else ("--models=a,b",)
    settings = [f"--{name}-seconds={value}" for name, value in SETTINGS.items()]
    with contextlib.ExitStack() as stack:
        stack.callback(toy.kill)
        if started:
            toy.start()
        proxy = stack.enter_context(Proxy(toy.port))
        url = f"--server-url={host}:{proxy.port}"
        sidecar = stack.enter_context(
            running_sidecar(folder / "sidecar.log", url, *models, *settings, *flags, **options)
        )
        watcher = stack.enter_context(Watcher(sidecar.port))
        yield World(toy, proxy, sidecar, watcher, folder)
