"""The canaries of the models, and the request of each."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sidecar.config.load import BadSettings
from sidecar.config.models import Document, GivenCanary, Model
from sidecar.config.schema import Settings
from sidecar.core.checks import Check, canary

if TYPE_CHECKING:
    from sidecar.payloads.given import Given

# The configured request of each canary; None to generate one from the model's metadata.
Payloads = Mapping[Check, "Given | None"]


def paths(settings: Settings) -> list[Path]:
    """Return the files of requests and expected replies, whether they exist or not."""
    found: list[Path] = []
    for model in settings.models:
        if isinstance(model.canary, GivenCanary):
            documents = (model.canary.request, model.canary.expect)
            found += [document for document in documents if isinstance(document, Path)]
        elif model.canary is None:
            found += _in_directory(settings, model)
    return found


def read(settings: Settings) -> Payloads:
    """Return the canaries with their requests. BadSettings if one cannot be read or is invalid."""
    payloads: dict[Check, Given | None] = {}
    wrong = []
    for model in settings.models:
        check = canary(model.name, model.version)
        try:
            given = _given(settings, model)
        except ValueError as error:
            wrong.append(f"{check.name}: {error}")
            continue
        if given is not None:
            payloads[check] = given
        elif (model.canary or settings.canary) == "auto":
            payloads[check] = None
    if wrong:
        raise BadSettings(wrong)
    return payloads


def _given(settings: Settings, model: Model) -> "Given | None":
    own = model.canary
    if isinstance(own, GivenCanary):
        expected = None if own.expect is None else _content(own.expect)
        return _named(own.request, _content(own.request), expected, own.tolerance)
    if own is not None:
        return None
    for request, expect in zip(*[iter(_in_directory(settings, model))] * 2, strict=True):
        if request.exists():
            expected = _content(expect) if expect.exists() else None
            return _named(request, _content(request), expected)
    return None


def _named(source: Document, body: Any, expected: Any, tolerance: float = 0.001) -> "Given":
    # Inference modules are imported only if there is a canary, in the thread that reads files.
    from sidecar.payloads.given import Given

    try:
        return Given(body, expected, tolerance)
    except ValueError as error:
        where = f"{source}: " if isinstance(source, Path) else ""
        raise ValueError(f"{where}{error}") from None


def _in_directory(settings: Settings, model: Model) -> list[Path]:
    """Return a model's request and expected reply in canary_dir; None if it has none.

    A name that is not a valid file name never becomes a path.
    """
    folder, name = settings.canary_dir, model.name
    if folder is None or name.startswith(".") or "/" in name or "\0" in name:
        return []
    stem = f"{name}@{model.version}" if model.version else name
    if "/" in stem:
        return []
    return [folder / f"{stem}.json", folder / f"{stem}.expect.json"]


def _content(document: Document) -> bytes | Mapping[str, Any]:
    if not isinstance(document, Path):
        return document
    try:
        return document.read_bytes()
    except OSError as error:
        raise ValueError(f"{document} cannot be read: {error.strerror}") from None
