"""Certificates replaced under a sidecar that polls a real Triton, in one swap and without a gap."""

from functools import partial

import pytest
import trustme

from tests.interop.tritons import Triton
from tests.support import Sidecar, running_sidecar, wait_until
from tests.volume import Volume, pair

# The first run installs the server.
pytestmark = pytest.mark.timeout(900)

TIMES = 10
LOADED = "configuration reloaded"


def _more(sidecar: Sidecar, than: int) -> bool:
    return len(sidecar.records(LOADED)) > than


@pytest.mark.parametrize("mutual", [False, True], ids=["tls", "mutual-tls"])
def test_ten_rotations_fail_no_poll(tmp_path, mutual):
    authority = trustme.CA()
    for name, data in pair(authority.issue_cert("127.0.0.1")).items():
        (tmp_path / name).write_bytes(data)
    authority.cert_pem.write_to_path(tmp_path / "ca")
    flags = [
        "--grpc-use-ssl=1",
        f"--grpc-server-cert={tmp_path / 'cert'}",
        f"--grpc-server-key={tmp_path / 'key'}",
    ]
    if mutual:
        flags += ["--grpc-use-ssl-mutual=1", f"--grpc-root-cert={tmp_path / 'ca'}"]
    volume = Volume(tmp_path / "volume")

    def rotate() -> None:
        # Beside the authority another one, as while authorities are changed.
        bundle = authority.cert_pem.bytes() + trustme.CA().cert_pem.bytes()
        volume.put(ca=bundle, **(pair(authority.issue_cert("client")) if mutual else {}))

    rotate()
    names = ("ca", "cert", "key") if mutual else ("ca",)
    files = [f"--tls-{name}-file={volume.folder / name}" for name in names]
    rounds = ["--period-seconds=0.05", "--timeout-seconds=0.04", "--max-age-seconds=2"]
    triton = Triton(tmp_path, *flags)
    try:
        triton.start(loaded=["fp32"])
        url = f"--server-url=127.0.0.1:{triton.port}"
        with running_sidecar(tmp_path / "log", url, "--models=fp32", *files, *rounds) as sidecar:
            sidecar.wait_for("/readyz", 200)
            before = sidecar.failed_polls(but_for="timeout")
            for _ in range(TIMES):
                done = len(sidecar.records(LOADED))
                rotate()
                wait_until(partial(_more, sidecar, done))
            # 40 ms can pass without an answer for reasons of this machine.
            failed = sidecar.failed_polls(but_for="timeout") - before
            polls = sidecar.metric('inference_polls_total{rpc="ModelReady"}')
            assert sidecar.get("/readyz").status == 200
    finally:
        triton.kill()
    assert failed == 0, sidecar.log
    assert polls > TIMES
