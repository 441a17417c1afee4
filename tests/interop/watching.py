"""A sidecar beside a real server, and what its endpoints say."""

from contextlib import AbstractContextManager
from pathlib import Path

from tests.interop.inference_servers import InferenceServer
from tests.support import Sidecar, running_sidecar, wait_until


def watching(server: InferenceServer, log: Path, *flags: str) -> AbstractContextManager[Sidecar]:
    """A running sidecar that polls the server."""
    url = f"--server-url=127.0.0.1:{server.port}"
    service = f"--grpc-service={server.grpc_service}"
    return running_sidecar(log, url, service, *flags)


def line(check: str, word: str) -> str:
    """The check's line in a body."""
    return f"[+]{check} ok" if word == "ok" else f"[-]{check} failed: {word}"


def wait_for_readyz(sidecar: Sidecar, live: str, ready: str, **models: str) -> None:
    """Until /readyz says these words and no other."""
    words = {"server-live": live, "server-ready": ready}
    words |= {f"model:{model}": word for model, word in models.items()}
    passed = set(words.values()) == {"ok"}
    lines = [line(check, word) for check, word in words.items()]
    lines.append(f"readyz check {'passed' if passed else 'failed'}")
    wait_until(lambda: sidecar.get("/readyz?verbose").text.splitlines() == lines, within=15)


def statuses(sidecar: Sidecar) -> tuple[int, int, int]:
    """The statuses of /healthz, /readyz and /startupz."""
    healthz, readyz, startupz = (
        sidecar.get(path).status for path in ("/healthz", "/readyz", "/startupz")
    )
    return healthz, readyz, startupz


def model_ready(model: str, version: str = "") -> str:
    """The name of the model's series."""
    return f'inference_model_ready{{model="{model}",version="{version}"}}'


def failures(rpc: str, reason: str) -> str:
    """The name of the counter's series."""
    return f'inference_poll_failures_total{{reason="{reason}",rpc="{rpc}"}}'
