"""The text of each settings error: pydantic's, or a replacement."""

from dataclasses import fields

from pydantic_core import ErrorDetails

from sidecar.config.environment import suggestion
from sidecar.config.models import NOT_A_LIST, Model

# By pydantic's error types.
_REASONS = {
    "bool_parsing": "not a boolean",
    "bool_type": "not a boolean",
    "dict_type": "not a mapping",
    "finite_number": "not a finite number",
    "float_parsing": "not a number",
    "float_type": "not a number",
    "int_from_float": "not a whole number",
    "int_parsing": "not a whole number",
    "int_parsing_size": "too large a number",
    "int_type": "not a whole number",
    "literal_error": "unknown",
    "missing": "missing",
    "path_type": "not text",
    "string_too_short": "empty",
    "string_type": "not text",
}


def reason(error: ErrorDetails) -> str:
    """Return why pydantic, or one of the validators, rejects a value."""
    cause = error.get("ctx", {}).get("error")
    if cause:
        return str(cause)
    return _REASONS.get(error["type"]) or error["msg"][:1].lower() + error["msg"][1:]


def wants_text(error: ErrorDetails) -> bool:
    """Whether a number, a boolean or null was rejected because text is expected."""
    text = error["type"] in ("string_type", "path_type", "dict_type")
    return (text or reason(error) == NOT_A_LIST) and isinstance(
        error["input"], bool | int | float | None
    )


def is_text(name: str, inner: list[str]) -> str:
    """Return the error for a setting, or a part of it, that is not text."""
    if name == "models":
        if not inner:
            return "models is text or a list"
        return "a version is text" if inner[-1] == "version" else "a name is text"
    if name == "headers":
        return "a header is text" if inner else "headers is text or a mapping"
    return f"{name} is text"


def of_model(inner: list[str], error: ErrorDetails, why: str) -> str:
    """Return the error for one of the models, or for a key of it."""
    index, *keys = inner
    model, key = f"model {int(index) + 1}", ".".join(keys)
    if error["type"] == "missing":
        return f"{model} has no {key}"
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = [field.name for field in fields(Model)]
        return f"{model} has no key {key!r}{suggestion(key.lower(), known)}"
    return f"{model}: {key}: {why}" if key else f"{model}: {why}"
