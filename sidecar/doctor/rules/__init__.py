"""The kinds of mistakes, each with the rule that finds it.

To add one, write a function with `@rule` in the module of its subject, a manifest with the mistake
and one without it in tests/doctor/, and run `make docs`.
"""

from sidecar.doctor.rules import (
    handlers,
    liveness,
    readiness,
    scaling,
    server,
    sidecar,
    sidecar_probes,
    sidecar_settings,
    termination,
)

__all__ = [
    "handlers",
    "liveness",
    "readiness",
    "scaling",
    "server",
    "sidecar",
    "sidecar_probes",
    "sidecar_settings",
    "termination",
]
