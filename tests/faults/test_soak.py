"""Hundreds of thousands of polls with faults mixed in: nothing grows, and every counter adds up."""

import itertools
import os
import random
import signal
import time
from pathlib import Path
from statistics import fmean

import pytest

from tests.faults.proxy import Proxy
from tests.support import Sidecar, running_sidecar
from tests.toy import ToyProcess

POLLS = int(os.environ.get("SOAK_POLLS", "500000"))
MODELS = [f"m{number}" for number in range(50)]
WELL = dict.fromkeys(MODELS, True)

pytestmark = pytest.mark.timeout(1800)


def resources(pid: int) -> dict[str, float]:
    """What a process holds: memory in KiB, descriptors, threads."""
    status = Path(f"/proc/{pid}/status").read_text()
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return {
        "memory": float(lines["VmRSS"].split()[0]),
        "descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        "threads": float(lines["Threads"]),
    }


def series(sidecar: Sidecar) -> dict[str, float]:
    """Every series of /metrics."""
    lines = sidecar.get("/metrics").text.splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))
    }


def total(page: dict[str, float], name: str) -> float:
    """The sum of all series of a metric."""
    return sum(value for key, value in page.items() if key.partition("{")[0] == name)


def level(samples: list[dict[str, float]]) -> None:
    """Fails when the second half's mean is above the first one's."""
    half = len(samples) // 2
    growth = {
        name: fmean(s[name] for s in samples[half:]) - fmean(s[name] for s in samples[:half])
        for name in ("memory", "descriptors", "threads")
    }
    # Half a MiB, and one of what comes and goes with connections.
    assert growth["memory"] < 512, samples
    assert growth["descriptors"] < 2, samples
    assert growth["threads"] < 2, samples


def test_nothing_grows_and_everything_adds_up(tmp_path):
    chance = random.Random(1)  # the same faults in each run
    with (
        ToyProcess(models=WELL) as toy,
        Proxy(toy.port) as proxy,
        running_sidecar(
            tmp_path / "log",
            f"--server-url=127.0.0.1:{proxy.port}",
            f"--models={','.join(MODELS)}",
            "--period-seconds=0.02",
            "--timeout-seconds=0.015",
            "--recovery-period-seconds=0.01",
        ) as sidecar,
    ):

        def restart() -> None:
            toy.kill()
            toy.start()

        faults = itertools.cycle(
            [
                lambda: toy.tell(models={**WELL, chance.choice(MODELS): False}),
                lambda: toy.tell(models={**WELL, chance.choice(MODELS): "INTERNAL"}),
                proxy.reset,
                lambda: toy.tell(models={**WELL, chance.choice(MODELS): "silence"}),
                proxy.cut,
                lambda: toy.tell(live={"hex": "ffffff"}, models=WELL),
                lambda: proxy.heal(forget=True),
                restart,
            ]
        )
        samples: list[dict[str, float]] = []
        while True:
            next(faults)()
            time.sleep(0.5)
            proxy.heal()
            toy.tell(models=WELL)
            time.sleep(1)
            page = series(sidecar)
            polls = total(page, "inference_polls_total")
            samples.append({"polls": polls, **resources(sidecar.process.pid)})
            if polls >= POLLS:
                break
        sidecar.wait_for("/readyz", 200)
        page = series(sidecar)

    level([sample for sample in samples if sample["polls"] > POLLS / 10])
    for rpc in ("ServerLive", "ServerReady", "ModelReady"):
        polls = page[f'inference_polls_total{{rpc="{rpc}"}}']
        assert polls == page[f'inference_poll_duration_seconds_count{{rpc="{rpc}"}}']
        failures = sum(
            value
            for key, value in page.items()
            if key.startswith("inference_poll_failures_total{") and f'rpc="{rpc}"' in key
        )
        assert 0 < failures < polls


def test_a_thousand_reloads_leave_nothing_behind_and_no_poll_fails(tmp_path):
    config = tmp_path / "sidecar.yaml"
    config.write_text("models: [m0]")
    with (
        ToyProcess(models=WELL) as toy,
        running_sidecar(
            tmp_path / "log",
            f"--server-url={toy.url}",
            f"--config={config}",
            "--recovery-period-seconds=0.01",
        ) as sidecar,
    ):
        sidecar.wait_for("/readyz", 200)
        samples = []
        for number in range(1000):
            model = f"m{1 + number % 40}"
            config.write_text(f"models: [m0, {model}]")
            sidecar.signal(signal.SIGHUP)
            sidecar.wait_for(f"/readyz/model:{model}", 200)
            if number >= 200 and number % 20 == 0:
                samples.append(resources(sidecar.process.pid))
        page = series(sidecar)
    level(samples)
    assert total(page, "inference_poll_failures_total") == 0
    assert total(page, "inference_model_ready") == 2
    assert sidecar.log.count("configuration reloaded") >= 1000
