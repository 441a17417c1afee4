"""Mistakes with several replicas: IHS046 to IHS049."""

from collections.abc import Iterator

from sidecar.doctor.documents import Document
from sidecar.doctor.findings import ERROR, WARNING, Case, Found, rule
from sidecar.doctor.nodes import at

SEVERAL = 2


def share(value: object, of: int) -> int | None:
    """Return a number, or a percentage of this number; None if it is neither."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = str(value)
    if text.endswith("%") and text[:-1].isdigit():
        return int(text[:-1]) * of // 100
    return None


@rule(
    "IHS046",
    WARNING,
    "Several replicas and no PodDisruptionBudget",
    why="A drain of nodes may take all replicas at once.",
    instead="Add a PodDisruptionBudget with maxUnavailable: 1 and unhealthyPodEvictionPolicy: AlwaysAllow.",
)
def no_budget(case: Case) -> Iterator[Found]:
    """Several replicas for which the stream has no PodDisruptionBudget."""
    kinds = {"Deployment", "StatefulSet", "ReplicaSet", "InferenceService"}
    outer = case.pod.outer
    if outer and outer[0].kind in kinds and case.pod.replicas >= SEVERAL and not case.pod.budgets():
        message = f"{case.pod.replicas} replicas, and no PodDisruptionBudget among what was read"
        yield Found(outer[0], ("spec",), message)


def _budget(document: Document, field: str, replicas: int) -> int | None:
    value = at(document.data, "spec", field)
    return None if value is None else share(value, replicas)


@rule(
    "IHS047",
    ERROR,
    "The PodDisruptionBudget protects nothing, or lets no node be drained",
    why="With minAvailable: 0, or a maxUnavailable of all replicas, everything may be evicted at once. With maxUnavailable: 0, or a minAvailable of"
    " all replicas, nothing may, so that a drain of the node waits forever.",
    instead="Set maxUnavailable: 1.",
)
def useless_budget(case: Case) -> Iterator[Found]:
    """A PodDisruptionBudget that allows all evictions or none."""
    replicas = case.pod.replicas
    if replicas < SEVERAL:
        return
    for document in case.pod.budgets():
        least, most = (_budget(document, f, replicas) for f in ("minAvailable", "maxUnavailable"))
        everything = least == 0 or (most is not None and most >= replicas)
        nothing = most == 0 or (least is not None and least >= replicas)
        if everything or nothing:
            what = (
                "every replica may be evicted at once"
                if everything
                else "no replica may ever be evicted"
            )
            field = "minAvailable" if least is not None else "maxUnavailable"
            value = at(document.data, "spec", field)
            message = f"{field}: {value} with {replicas} replicas: {what}"
            yield Found(document, ("spec", field), message)


@rule(
    "IHS048",
    ERROR,
    "A rollout may take all replicas at once",
    why="With a maxUnavailable of all replicas the old ones end before a new one has loaded its models.",
    instead="Set maxUnavailable: 0 and maxSurge: 1, where there is room for one more.",
)
def takes_all(case: Case) -> Iterator[Found]:
    """A rolling update whose maxUnavailable is all replicas."""
    document, place = _strategy(case)
    if document is None:
        return
    unavailable = at(document.data, *place, "rollingUpdate", "maxUnavailable")
    number = share(unavailable, case.pod.replicas)
    if unavailable is not None and number is not None and 0 < case.pod.replicas <= number:
        message = (
            f"maxUnavailable: {unavailable} with {case.pod.replicas} replicas takes all at once"
        )
        rolling = (*place, "rollingUpdate")
        edits = (((*rolling, "maxUnavailable"), 0), ((*rolling, "maxSurge"), 1))
        yield Found(document, rolling, message, edits, rolling)


@rule(
    "IHS049",
    WARNING,
    "A rollout ends every replica before it starts a new one",
    why="With the strategy Recreate no replica serves while the new ones load their models.",
    instead="Use RollingUpdate with maxUnavailable: 0 and maxSurge: 1; Recreate is for what cannot run twice.",
)
def recreates(case: Case) -> Iterator[Found]:
    """The strategy Recreate with several replicas."""
    document, place = _strategy(case)
    if (
        document
        and case.pod.replicas >= SEVERAL
        and at(document.data, *place, "type") == "Recreate"
    ):
        new = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
        message = f"Recreate ends all {case.pod.replicas} replicas, and then new ones load"
        yield Found(document, place, message, ((place, new),), place)


def _strategy(case: Case) -> tuple[Document | None, tuple[str, ...]]:
    outer = case.pod.outer
    if outer and outer[0].kind == "Deployment":
        return outer[0], ("spec", "strategy")
    if outer and outer[0].kind == "InferenceService":
        return outer[0], ("spec", "predictor", "deploymentStrategy")
    return None, ()
