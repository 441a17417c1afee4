"""The settings of a sidecar in a manifest: its variables, and its mounted ConfigMap."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

import yaml

from sidecar.config import BadSettings, Settings, load_text
from sidecar.doctor.containers import Container
from sidecar.doctor.nodes import at, items, text
from sidecar.doctor.pods import Pod

PREFIX, CONFIG = "SIDECAR_", "SIDECAR_CONFIG"

# They name files of the container, which are not available here.
# fmt: off
FILES = frozenset({
    "tls_ca_file", "tls_cert_file", "tls_key_file", "bearer_token_file", "canary_dir",
    "tls_server_name",
})
# fmt: on
# A placeholder for values from the downward API.
PLACEHOLDERS = {"pod_name": "pod", "pod_uid": "uid", "models": "from-elsewhere"}


class SidecarSettings(NamedTuple):
    """The settings of a sidecar.

    settings:  None if they are invalid or not in the stream.
    wrong:     their errors, one line each.
    unknown:   the names of settings whose values are elsewhere, or are files.
    """

    settings: Settings | None
    wrong: tuple[str, ...] = ()
    unknown: frozenset[str] = frozenset()


def read(pod: Pod, sidecar: Container) -> SidecarSettings:
    """Return the settings of a pod's sidecar."""
    variables: dict[str, str] = {}
    unknown = set()
    for variable, value in sidecar.variables.items():
        name = variable.removeprefix(PREFIX).lower()
        if not variable.startswith(PREFIX) or variable == CONFIG:
            continue
        if value is None or name in FILES:
            unknown.add(name)
        if name in FILES:
            continue
        given = PLACEHOLDERS.get(name) if value is None else value
        if given is not None:
            variables[variable] = given
    flags = {
        name: values[-1]
        for name in Settings.model_fields
        if name not in FILES and (values := sidecar.flags("--" + name.replace("_", "-")))
    }
    file = _file(pod, sidecar)
    if file is None:
        return SidecarSettings(None, unknown=frozenset({*Settings.model_fields}))
    try:
        return SidecarSettings(load_text(flags, variables, file), unknown=frozenset(unknown))
    except BadSettings as error:
        wrong = tuple(line for line in error.lines if line.partition(":")[0] not in FILES)
    if wrong:
        return SidecarSettings(None, wrong, frozenset(unknown))
    try:
        return SidecarSettings(
            load_text(flags, variables, _without_files(file)), (), frozenset(unknown)
        )
    except BadSettings as error:
        return SidecarSettings(None, tuple(error.lines), frozenset(unknown))


def _file(pod: Pod, sidecar: Container) -> str | None:
    """Return the text of the settings file; empty for none, None if it is not in the stream."""
    given = sidecar.variables.get(CONFIG) or next(iter(sidecar.flags("--config")), "")
    if not given:
        return ""
    path = PurePosixPath(given)
    mounts = (m for m in items(sidecar.raw, "volumeMounts") if isinstance(m, Mapping))
    names = [text(m, "name") for m in mounts if text(m, "mountPath") == str(path.parent)]
    for volume in items(pod.spec, "volumes"):
        if text(volume, "name") in names:
            data = pod.config_map(text(volume, "configMap", "name"))
            content = at(data, path.name)
            return str(content) if isinstance(content, str) else None
    return None


def _without_files(file: str) -> str:
    values = yaml.safe_load(file) or {}
    return yaml.safe_dump({name: value for name, value in values.items() if name not in FILES})
