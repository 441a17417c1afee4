"""The services of grpc.health.v1: what each name stands for, and whether it serves."""

from collections import defaultdict
from collections.abc import Iterable

from sidecar.core.checks import MODEL, Check
from sidecar.core.rules import ENDPOINTS, readiness
from sidecar.core.snapshot import Snapshot


class Services:
    """The services of these checks.

    The empty name and `readyz` are /readyz; the other endpoints have theirs; each
    check has its own, `model:bert` for one. The bare name of a model, `bert` or
    `bert:3`, is the model and its canary together; `bert` alone stands for the
    only version that is checked.
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
        """Every name that stands for something."""
        return ("", *ENDPOINTS, *self._checks, *self._models)

    def is_serving(self, service: str, snapshot: Snapshot) -> bool | None:
        """Whether a service serves; None for a name that stands for nothing.

        During the drain no check does, and no model.
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
