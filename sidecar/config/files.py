"""The settings with the contents of their files, read together, outside the event loop."""

import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sidecar.config import canaries
from sidecar.config.canaries import Payloads
from sidecar.config.certificates import latest_expiry, leaf_expiry
from sidecar.config.load import BadSettings
from sidecar.config.schema import Settings, bearer
from sidecar.core.checks import Check
from sidecar.core.status import Canaries
from sidecar.core.target import Target

# Each file, and the fingerprint of its content.
Fingerprints = list[tuple[Path, tuple[int, ...]]]

SECRETS = ("tls_key_file", "bearer_token_file")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings with the contents of their files.

    seen:             fingerprints of the settings file and of the files that the settings
                      name, taken before they were read.
    target:           the server, with certificates and token.
    expiry:           the Unix time at which each TLS file expires.
    canaries:         the canaries and their requests.
    world_readable:   the settings whose secret files are world-readable.
    """

    settings: Settings
    seen: Fingerprints
    target: Target
    expiry: Mapping[str, float]
    canaries: Payloads
    world_readable: Mapping[str, Path]

    @property
    def checks(self) -> tuple[Check, ...]:
        """The checks: of the server, its models, and their canaries."""
        return (*self.settings.checks, *self.canaries)

    @property
    def judging(self) -> Canaries:
        """The rules for canaries."""
        given = frozenset(check for check, payload in self.canaries.items() if payload)
        return Canaries(self.settings.canary_rules, given)


def read(load: Callable[[], Settings], config: Path | None) -> Loaded:
    """Return the settings that `load` returns, with their files. BadSettings or OSError.

    `config` is the settings file that `load` reads, if any. The fingerprint of each
    file is taken before it is read, so that a later replacement is detected.
    """
    seen = fingerprints([] if config is None else [config])
    return with_files(load(), seen)


def fingerprints(files: Iterable[Path]) -> Fingerprints:
    """Return the fingerprint of each file's content, and of every link on its path.

    BadSettings for a FIFO: opening it would wait for a writer, even after it was
    replaced by another file.
    """
    found: Fingerprints = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            found.append((file, ()))
            continue
        if stat.S_ISFIFO(status.st_mode):
            raise BadSettings([f"{file} is a FIFO, not a file"])
        identity = (status.st_dev, status.st_ino, status.st_size)
        found.append((file, (*identity, status.st_mtime_ns, status.st_ctime_ns)))
    return found


def with_files(settings: Settings, seen: Iterable[tuple[Path, tuple[int, ...]]] = ()) -> Loaded:
    """Return the settings with the contents of their files. BadSettings if one is unusable."""
    seen = [*seen, *fingerprints(paths(settings))]
    try:
        target = _target(settings)
        expiry = _expiry(settings)
    except ValueError as error:  # it has changed since its validation
        raise BadSettings([f"a file has changed meanwhile: {error}"]) from None
    world_readable = {
        name: settings.files[name] for name in SECRETS if _is_world_readable(settings, name)
    }
    return Loaded(settings, seen, target, expiry, canaries.read(settings), world_readable)


def paths(settings: Settings) -> list[Path]:
    """The files that the settings name."""
    return [*settings.files.values(), *canaries.paths(settings)]


def _target(settings: Settings) -> Target:
    token = bearer(settings.bearer_token_file) if settings.bearer_token_file else {}
    return Target(
        url=settings.server_url,
        service=settings.grpc_service,
        timeout=settings.timeout_seconds,
        recovery_period=settings.recovery_period,
        tls=settings.tls,
        server_name=settings.tls_server_name,
        authority=settings.authority,
        root_certificates=_content(settings.tls_ca_file),
        private_key=_content(settings.tls_key_file),
        certificate_chain=_content(settings.tls_cert_file),
        headers={**settings.headers, **token},
    )


def _content(path: Path | None) -> bytes | None:
    try:
        return None if path is None else path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None


def _expiry(settings: Settings) -> dict[str, float]:
    expiry = {}
    if settings.tls_ca_file is not None:
        expiry["ca"] = latest_expiry(settings.tls_ca_file)
    if settings.tls_cert_file is not None:
        expiry["cert"] = leaf_expiry(settings.tls_cert_file)
    return expiry


def _is_world_readable(settings: Settings, name: str) -> bool:
    path = settings.files.get(name)
    return path is not None and bool(path.stat().st_mode & stat.S_IROTH)
