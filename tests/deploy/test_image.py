"""The image is built by `make image`, and works with less than any cluster gives it."""

import hashlib
import json
import re
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

import sidecar
from tests.deploy.images import HARDENED, NAME, ROOT, SOURCE, Podman
from tests.support import Sidecar, clean_environment, python, running_sidecar
from tests.toy import ToyProcess

pytestmark = pytest.mark.timeout(300)  # the base is made the first time

MIB = 2**20
MODELS = [f"model-{number}" for number in range(10)]
PATHS = ("/healthz", "/readyz?verbose", "/startupz", "/livez", "/metrics", "/status", "/", "/no")


@dataclass(frozen=True)
class Image:
    """The image that was built, what it was built on, and what it is configured to be."""

    podman: Podman
    base: str
    config: dict[str, Any]


@pytest.fixture(scope="session")
def image() -> Image:
    podman = Podman()
    base = podman.make_image("--no-cache")  # a cached layer may have the time of another commit
    (inspected,) = json.loads(podman("image", "inspect", podman.image).stdout)
    return Image(podman, base, inspected["Config"])


Start = Callable[..., AbstractContextManager[Sidecar]]


@pytest.fixture
def container(tmp_path) -> str:
    """A name that no other test uses."""
    return f"{NAME}-{tmp_path.parent.name}-{tmp_path.name}"


@pytest.fixture
def start(image, tmp_path, container) -> Start:
    """Starts the image hardened, and looks to it that nothing of it stays."""

    @contextmanager
    def started(*args: str, options: tuple[str, ...] = (), **how: Any) -> Iterator[Sidecar]:
        run = ("podman", "run", "--rm", f"--name={container}", *HARDENED, *options)
        try:
            with running_sidecar(
                tmp_path / "log",
                *args,
                program=(*run, image.podman.image),
                **how,
                **image.podman.variables,
            ) as running:
                yield running
        finally:
            image.podman("rm", "--force", "--ignore", "--time=0", container)

    return started


@pytest.fixture
def server() -> Iterator[ToyProcess]:
    """A toy server with ten ready models, outside the container."""
    with ToyProcess(models=dict.fromkeys(MODELS, True)) as server:
        yield server


def test_hadolint_finds_nothing_in_the_dockerfile():
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("", 0)


def test_make_image_takes_either_engine_and_names_the_image_as_the_pod_does():
    def make(*args: str) -> str:
        return subprocess.run(
            ["make", "--dry-run", "image", *args],
            cwd=ROOT, env=clean_environment(), capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip

    pod = yaml.safe_load((ROOT / "deploy" / "pod.yaml").read_text())
    named = pod["spec"]["initContainers"][0]["image"]
    assert f" --tag {named} " in make()
    assert "\ndocker build " in make("ENGINE=docker")
    (default,) = re.findall(r"^ARG BASE=(.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert f" BASE={default} " in make()


def test_the_image_says_what_it_is(image):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    labels = {
        name.removeprefix("org.opencontainers.image."): value
        for name, value in image.config["Labels"].items()
        if name.startswith("org.opencontainers.image.")
    }
    assert labels.pop("revision").removesuffix("-dirty") == revision
    assert labels == {
        "title": project["name"],
        "description": project["description"],
        "licenses": project["license"],
        "version": sidecar.__version__,
        "source": SOURCE,
    }
    assert image.config["User"] == "65532:65532"
    assert image.config["Entrypoint"] == ["sidecar"]
    assert list(image.config["ExposedPorts"]) == ["9808/tcp"]


def saved_layers(image: Image, name: str, folder: Path) -> list[Path]:
    """The layers of an image that lie on the base's, as archives in the folder."""
    image.podman("save", "--format=docker-archive", f"--output={folder}/saved", name)
    with tarfile.open(folder / "saved") as archive:
        archive.extractall(folder, filter="data")
    (manifest,) = json.loads((folder / "manifest.json").read_text())
    (base,) = json.loads(image.podman("image", "inspect", image.base).stdout)
    return [folder / name for name in manifest["Layers"][len(base["RootFS"]["Layers"]) :]]


def entries(layer: Path) -> set[tuple[Any, ...]]:
    """All that a layer has, with everything by which two could differ."""
    with tarfile.open(layer) as archive:

        def digest(member: tarfile.TarInfo) -> str:
            file = archive.extractfile(member) if member.isreg() else None
            return hashlib.sha256(file.read()).hexdigest() if file else ""

        return {
            (m.name, m.type, m.mode, m.uid, m.gid, m.mtime, m.linkname, digest(m))
            for m in archive.getmembers()
        }


@pytest.fixture(scope="session")
def layers(image, tmp_path_factory) -> list[Path]:
    """The layers that lie on the base's."""
    return saved_layers(image, image.podman.image, tmp_path_factory.mktemp("image"))


def test_it_adds_at_most_20_mb_to_its_base(layers):
    def compressed(layer: Path) -> int:
        compressor = zlib.compressobj(6, wbits=31)
        return len(compressor.compress(layer.read_bytes()) + compressor.flush())

    assert sum(compressed(layer) for layer in layers) <= 20_000_000  # 18.5 when it was measured


def test_it_adds_neither_a_tool_to_build_with_nor_a_cache(layers):
    added: list[tarfile.TarInfo] = []
    for layer in layers:
        with tarfile.open(layer) as archive:
            added += archive.getmembers()
    outside = [m.name for m in added if not f"/{m.name}/".startswith("/opt/sidecar/")]
    assert set(outside) <= {"opt", "opt/"}
    (packages,) = {
        m.name for m in added if re.search(r"^opt/sidecar/lib/[^/]+/site-packages/?$", m.name)
    }
    inside = [Path(m.name).relative_to(packages) for m in added if m.name.startswith(packages)]
    names = {path.parts[0].partition("-")[0].lower() for path in inside if path.parts}
    assert "inference_health_sidecar" in names
    assert not names & {"pip", "setuptools", "wheel", "hatchling", "hatch", "numpy", "uv"}
    programs = {Path(m.name).name for m in added if m.name.startswith("opt/sidecar/bin/")}
    assert "sidecar" in programs
    assert not {p for p in programs if re.match(r"pip|cc$|gcc|ld$|cython|protoc", p)}
    # Beside its source only what was not compiled on purpose could lie.
    assert not [m.name for m in added if "__pycache__" in m.name or ".cache" in m.name]
    assert not [m.name for m in added if m.mode & 0o022 and not m.issym()]
    assert {(m.uid, m.gid) for m in added} == {(0, 0)}


FIND_STALE = """
import importlib.util, json, pathlib, sys
root = pathlib.Path(sys.pycache_prefix)
stale, files = [], 0
for compiled in root.rglob("*.pyc"):
    module = compiled.name.partition(".")[0] + ".py"
    source = pathlib.Path("/", compiled.relative_to(root)).with_name(module)
    head = compiled.read_bytes()[:16]
    # PEP 552: by hash, and never compared with the source when it is loaded.
    digest = importlib.util.source_hash(source.read_bytes())
    files += 1
    stale += [str(source)] * (head != importlib.util.MAGIC_NUMBER + b"\\1\\0\\0\\0" + digest)
json.dump([files, stale], sys.stdout)
"""


def test_what_is_compiled_is_compiled_from_the_sources_beside_it(image):
    done = image.podman.run("-c", FIND_STALE, options=("--entrypoint=python3",))
    files, stale = json.loads(done.stdout)
    assert files > 400
    assert stale == []


def test_any_python_tells_what_to_compile():
    done = python(str(ROOT / "deploy" / "image" / "loaded.py"))
    assert done.returncode == 0, done.stderr
    sources = done.stdout.splitlines()
    assert {sidecar.__file__, json.__file__} < set(sources)
    assert [source for source in sources if not Path(source).is_file()] == []


def test_nothing_has_to_be_compiled_at_run_time(start, server, image):
    verbose = ("--env=PYTHONVERBOSE=1",)
    with start(command="demo", options=verbose) as demo:
        for path in PATHS:
            demo.get(path)
        demo.get("/metrics", accept="application/openmetrics-text; version=1.0.0")
    check = image.podman.run("check", f"--server-url={server.url}", "--models=x", options=verbose)
    for told in (demo.log, check.stderr):
        assert "# code object from '/opt/sidecar/compiled/" in told
        assert re.findall(r"^# code object from (/.*\.py)$", told, re.MULTILINE) == []


def test_the_demo_becomes_healthy_inside(start):
    with start(command="demo") as demo:
        demo.wait_for("/healthz", 200)
        assert demo.get("/readyz").status == 503
        demo.wait_for("/readyz", 200, within=30)
        assert demo.get("/startupz").text == "ok"


def test_it_listens_within_two_seconds(start, image, container):
    with start() as running:
        began = image.podman("inspect", "--format={{json .State.StartedAt}}", container).stdout
        (record,) = running.records("is listening")
    duration = datetime.fromisoformat(record["time"]) - datetime.fromisoformat(json.loads(began))
    assert 0 < duration.total_seconds() < 2  # 0.2 when it was measured, on an idle machine


def private_memory(cgroup: str) -> int:
    """What a control group has of its own, in bytes; files count for whoever read them first."""
    cgroups, path = Path("/sys/fs/cgroup"), cgroup.strip().lstrip("/")
    first, second = cgroups / "memory" / path / "memory.stat", cgroups / path / "memory.stat"
    stat, key = (first, "rss") if first.exists() else (second, "anon")
    return int(dict(line.split() for line in stat.read_text().splitlines())[key])


def test_ten_models_and_prometheus_need_little_memory(start, server, image, container):
    models = ",".join(MODELS)
    with start(f"--server-url={server.url}", f"--models={models}") as running:
        running.wait_for("/readyz", 200)
        asked = 'inference_polls_total{rpc="ModelReady"}'
        while running.metric(asked) < 12 * len(MODELS):
            for path in PATHS:
                running.get(path)
        cgroup = image.podman("inspect", "--format={{.State.CgroupPath}}", container).stdout
        # 40 when it was measured. The files that it has mapped are 30 more, which a limit
        # of 64 can take away from it.
        assert 20 * MIB < private_memory(cgroup) < 50 * MIB


def test_sigterm_is_drained(start, server):
    with start(f"--server-url={server.url}", "--drain-seconds=2") as running:
        running.wait_for("/readyz", 200)
        before = time.monotonic()
        running.signal(signal.SIGTERM)
        assert "[-]drain failed: shutting_down" in running.wait_for("/readyz", 503).text
        assert running.get("/healthz").text == "ok"
        assert running.get("/metrics").status == 200
        assert running.wait() == 0
        assert time.monotonic() - before >= 2


def test_nothing_in_it_can_be_written_to(start, server, image, container):
    # Without a read-only root file system there are a base's own places, such as /tmp.
    find = "find / -xdev -writable ! -type l ! -path '/dev/*' ! -path '/proc/*' 2>/dev/null || :"
    writable = image.podman(
        "run",
        "--rm",
        "--network=host",
        "--cap-drop=all",
        "--entrypoint=sh",
        image.podman.image,
        "-c",
        find,
    )
    bare = image.podman(
        "run", "--rm", "--network=host", "--cap-drop=all", "--user=65532", "--entrypoint=sh",
        image.base, "-c", find,
    )  # fmt: skip
    assert writable.stdout == bare.stdout
    with start(f"--server-url={server.url}") as running:
        running.wait_for("/readyz", 200)
        find = "find / -writable -type d ! -path '/proc/*' ! -path /dev/mqueue 2>/dev/null"
        inside = image.podman("exec", container, "sh", "-c", find, check=False)
        assert inside.stdout == ""
        assert image.podman("exec", container, "id", "-u").stdout == "65532\n"
        status = image.podman("exec", container, "cat", "/proc/1/status").stdout
    assert dict(re.findall(r"^(Cap\w+|NoNewPrivs):\s*(\w+)$", status, re.MULTILINE)) == {
        **dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"), "0" * 16),
        "NoNewPrivs": "1",
    }


def test_a_check_speaks_tls_and_tells_by_its_code(image, pki):
    trust = (f"--volume={pki.ca}:/ca.pem:ro",)
    with ToyProcess({"key": str(pki.key), "cert": str(pki.cert)}, models={"bert": True}) as server:
        url = f"--server-url=grpcs://localhost:{server.port}"
        check = ("check", url, "--models=bert")
        trusted = image.podman.run(*check, "--tls-ca-file=/ca.pem", options=trust)
        assert (trusted.returncode, trusted.stdout.splitlines()[-1]) == (0, "readyz check passed")
        public = image.podman.run(*check)
        assert (public.returncode, public.stdout.splitlines()[-1]) == (3, "readyz check failed")
        assert "[-]model:bert failed: tls" in public.stdout
    gone = image.podman.run(*check)
    assert (gone.returncode, gone.stdout.splitlines()[0]) == (
        3,
        "[-]server-live failed: unreachable",
    )


def test_settings_are_validated_in_it(image):
    good = image.podman.run("config", options=("--env=SIDECAR_MODELS=bert:3",))
    assert good.returncode == 0
    assert yaml.safe_load(good.stdout)["models"] == [
        {"name": "bert", "version": "3", "required": True}
    ]
    bad = image.podman.run("config", "--jitter=7")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert image.podman.run("--version").stdout == f"{sidecar.__version__}\n"


def test_the_doctor_examines_manifests_in_it(image):
    file = ROOT / "deploy" / "pod.yaml"
    mount = f"--volume={file}:/pod.yaml:ro"
    done = image.podman.run("doctor", "/pod.yaml", options=(mount,))
    assert "1 pod with an inference server: 0 errors, 0 warnings" in done.stdout


def test_two_builds_have_the_same_layers(image, layers, tmp_path):
    again = Podman()
    again.make_image("--no-cache")
    (one,), (other,) = layers, saved_layers(image, again.image, tmp_path)
    assert sorted(entries(one) ^ entries(other))[:4] == []
    assert one.read_bytes() == other.read_bytes()
