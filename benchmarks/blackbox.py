"""What does Debian's prometheus-blackbox-exporter say of a server, and what does the sidecar?

The exporter speaks grpc.health.v1, which the toy server lacks, as KServe,
MLServer and TorchServe do; Triton has it. Its other way is to connect.

python -m benchmarks.blackbox
"""

import json
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import Endpoint, endpoint
from tests.interop.tritons import Triton
from tests.support import free_port, http_get, running_sidecar
from tests.toy import ToyProcess

MODULES = ("grpc", "tcp")
MODEL = "fp32"
MISSING = {"toy": "model_not_found", "Triton": "not_ready"}  # what each says of it
DEFAULTS = ("--period-seconds=5", "--timeout-seconds=2", "--recovery-period-seconds=1")


@contextmanager
def blackbox() -> Iterator[Endpoint | None]:
    """The exporter, where it is installed."""
    program = shutil.which("prometheus-blackbox-exporter")
    if program is None:
        print("prometheus-blackbox-exporter is not installed: going on without it")
        yield None
        return
    port = free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as config:
        modules = {
            name: {"prober": name, "timeout": "2s", name: {"preferred_ip_protocol": "ip4"}}
            for name in MODULES
        }
        config.write(json.dumps({"modules": modules}))
        config.flush()
        flags = (f"--config.file={config.name}", f"--web.listen-address=127.0.0.1:{port}")
        with endpoint(program, *flags, port=port) as running:
            running.seconds_to("/-/healthy")
            yield running


def probe(module: str, url: str) -> str:
    """The path that asks it to ask a server."""
    return f"/probe?module={module}&target={url}"


def exporter_says(exporter: Endpoint, module: str, url: str) -> str:
    """Whether its probe succeeds, and the server's status where it has one."""
    try:
        page = http_get(exporter.port, probe(module, url)).text
    except TimeoutError:
        return "nothing for 5 s"
    told = dict(line.split() for line in page.splitlines() if line.startswith("probe_"))
    passed = "passes" if told["probe_success"] == "1" else "fails"
    return f"{passed}, status {told['probe_grpc_status_code']}" if module == "grpc" else passed


def compare(server: ToyProcess | Triton, name: str, exporter: Endpoint, folder: Path) -> None:
    """Prints a row for each state of a server that lacks the model in question."""
    url = f"127.0.0.1:{server.port}"
    flags = (f"--server-url={url}", f"--models={MODEL}", *DEFAULTS)

    def row(state: str) -> None:
        says = [exporter_says(exporter, module, url) for module in MODULES]
        seen = sidecar.get("/readyz?verbose").text.splitlines()
        failing = next(line for line in seen if line.startswith("[-]"))
        check, _, word = failing.removeprefix("[-]").partition(" failed: ")
        print(f"| {name}, {state} | {' | '.join(says)} | `{check}`: `{word}` |", flush=True)

    with running_sidecar(folder / f"{name}.log", *flags) as sidecar:
        sidecar.wait_for_line(f"[-]model:{MODEL} failed: {MISSING[name]}")
        row("without the model")
        server.signal(signal.SIGSTOP)
        sidecar.wait_for_line("[-]server-live failed: timeout", within=30)
        row("frozen")
        server.kill()
        sidecar.wait_for_line("[-]server-live failed: unreachable", within=30)
        row("killed")


def main() -> None:
    """Prints what each says of the toy server and of Triton."""
    with tempfile.TemporaryDirectory() as name, blackbox() as exporter:
        if exporter is None:
            return
        print("| server | exporter, grpc | exporter, tcp | sidecar |\n| --- | --- | --- | --- |")
        folder = Path(name)
        with ToyProcess() as toy:
            compare(toy, "toy", exporter, folder)
        triton = Triton(folder, "--model-control-mode=explicit")
        try:
            triton.start()
            compare(triton, "Triton", exporter, folder)
        finally:
            triton.kill()


if __name__ == "__main__":
    main()
