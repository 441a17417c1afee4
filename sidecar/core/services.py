"""The service names of grpc.health.v1: what each stands for, and whether it serves."""

from collections import defaultdict
from collections.abc import Iterable

from sidecar.core.checks import MODEL, Check
from sidecar.core.rules import ENDPOINTS, readiness
from sidecar.core.snapshot import Snapshot


class Services:
    """The services for these checks.

    The empty name and `readyz` are /readyz; each other endpoint and each check has a
    service of its name, such as `model:bert`. The bare name of a model, `bert` or
    `bert:3`, stands for the model and its canary together; `bert` is valid if only
    one version is checked.
    """

    def __init__(self, checks: Iterable[Check]) -> None:
        self._checks = {check.name: check for check in checks}
        named: dict[str, list[Check]] = defaultdict(list)
        for check in self._checks.values():
            if check.kind == MODEL:
                named[check.model].append(check)
                if check.version:
                    named[f"{check.model}:{check.version}"].append(check)
        self._models = {
            name: found[0]
            for name, found in named.items()
            if len(found) == 1 and name not in self._checks and name not in ENDPOINTS
        }

    @property
    def names(self) -> tuple[str, ...]:
        """All service names."""
        return ("", *ENDPOINTS, *self._checks, *self._models)

    def is_serving(self, service: str, snapshot: Snapshot) -> bool | None:
        """Whether a service serves; None for an unknown name.

        During the drain no check and no model serves.
        """
        rule = readiness if service == "" else ENDPOINTS.get(service)
        if rule is not None:
            return rule(snapshot).passing
        check = self._checks.get(service) or self._models.get(service)
        state = None if check is None else snapshot.health.checks.get(check)
        if check is None or state is None:
            return None
        is_whole_model = service in self._models
        return (
            not snapshot.health.draining
            and snapshot.is_ready(state)
            and (not is_whole_model or snapshot.is_model_proven(check))
        )
