"""The settings with what their files hold, read together, outside the event loop."""

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

# Each file, and what identifies its present content.
Fingerprints = list[tuple[Path, tuple[int, ...]]]

SECRETS = ("tls_key_file", "bearer_token_file")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings with what their files held.

    seen:             the settings file and those that the settings name, as they were
                      looked at before they were read.
    target:           the server that is asked, with the certificates and the token.
    expiry:           the Unix time at which each TLS file expires.
    canaries:         the canaries and their requests.
    world_readable:   the secret files that are world-readable, by their settings' names.
    """

    settings: Settings
    seen: Fingerprints
    target: Target
    expiry: Mapping[str, float]
    canaries: Payloads
    world_readable: Mapping[str, Path]

    @property
    def checks(self) -> tuple[Check, ...]:
        """What is probed: the server, its models, their canaries."""
        return (*self.settings.checks, *self.canaries)

    @property
    def judging(self) -> Canaries:
        """How the canaries are judged."""
        given = frozenset(check for check, payload in self.canaries.items() if payload)
        return Canaries(self.settings.canary_rules, given)


def read(load: Callable[[], Settings], config: Path | None) -> Loaded:
    """The settings that `load` gives, with their files; BadSettings or OSError.

    `config` is the settings file that `load` reads, if there is one. Each file is
    looked at before it is read: what is replaced from then on is seen by that.
    """
    seen = fingerprints([] if config is None else [config])
    return with_files(load(), seen)


def fingerprints(files: Iterable[Path]) -> Fingerprints:
    """What identifies the content of each file, every link on the way to it followed.

    BadSettings for a FIFO: opening it would wait for a writer, even
    when another file has taken its place.
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
    """Settings with what their files hold now; BadSettings when one holds nothing usable."""
    seen = [*seen, *fingerprints(paths(settings))]
    try:
        target = _target(settings)
        expiry = _expiry(settings)
    except ValueError as error:  # replaced once more since it was validated
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
