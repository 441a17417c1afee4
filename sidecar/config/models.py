"""The configured models, and the forms in which a list of them may be written."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, field_validator
from pydantic.dataclasses import dataclass

from sidecar.core.checks import Check, model_ready

QUOTES = ("'", '"')
NOT_A_LIST = "not a list"


def _mode(value: object) -> object:
    # YAML reads off as false.
    return "off" if value is False else value


Mode = Annotated[Literal["off", "auto"], BeforeValidator(_mode)]

# A file, or its content.
Document = Path | dict[str, Any]

_DOCUMENT = {"anyOf": [{"type": "string"}, {"type": "object"}]}


class GivenCanary(BaseModel):
    """The canary of one model: a request in V2 JSON, and the expected reply."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    request: Document
    expect: Document | None = None
    tolerance: float = Field(0.001, ge=0)


# A dataclass, because as a BaseModel each takes half a kilobyte more, and there may be thousands.
@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Model:
    """One configured model. One that is not required is reported, but does not gate."""

    name: str = Field(min_length=1)
    version: Annotated[
        str, WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]})
    ] = ""
    required: bool = True
    canary: Annotated[
        Mode | GivenCanary | None,
        WithJsonSchema(
            {
                "anyOf": [
                    {"enum": ["off", "auto", False, None]},
                    {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["request"],
                        "properties": {
                            "request": _DOCUMENT,
                            "expect": _DOCUMENT,
                            "tolerance": {"type": "number", "minimum": 0},
                        },
                    },
                ]
            }
        ),
    ] = None

    @field_validator("version", mode="before")
    @classmethod
    def _whole(cls, value: object) -> object:
        # YAML reads 3 as a number, which is equivalent; but 1.10 as 1.1, which is not.
        return str(value) if type(value) is int else value

    @field_validator("name", "version")
    @classmethod
    def _one_line(cls, value: str) -> str:
        return printable(without_quotes(value))

    @property
    def check(self) -> Check:
        """The check of this model."""
        return model_ready(self.name, self.version)


def printable(text: str) -> str:
    """Return the text. ValueError if it has a control character."""
    if not text.isprintable():
        raise ValueError("has a control character")
    return text


def without_quotes(value: Any) -> Any:
    """Return the value. ValueError if it is a text in quotes, which are likely a mistake."""
    if isinstance(value, str):
        text = value.strip()
        for quote in QUOTES:
            if len(text) > 1 and text.startswith(quote) and text.endswith(quote):
                raise ValueError(f"the quotes {quote} are part of the value; leave them out")
    return value


def parse(value: object) -> list[Any]:
    """Return the entries of a comma-separated text, a JSON list or a list, each as for a Model."""
    return [_entry(item) for item in _items(value)]


def required(value: object) -> int:
    """Return the maximum number of required models, valid or not. ValueError if not a list."""
    return sum(not (isinstance(i, dict) and i.get("required") is False) for i in _items(value))


def _items(value: object) -> list[Any]:
    if isinstance(value, str):
        text = value.strip()
        names = text.split(",") if text else []
        value = _json(text) if text.startswith(("[", "{")) else names
    if isinstance(value, dict):
        raise ValueError("one mapping and not a list; a list of one is in brackets, [{...}]")
    if not isinstance(value, list | tuple):
        raise ValueError(NOT_A_LIST)
    return list(value)


def distinct(models: tuple[Model, ...]) -> tuple[Model, ...]:
    """Return the models. ValueError if there are duplicates."""
    names = Counter(model.check.name for model in models)
    twice = sorted(name for name, count in names.items() if count > 1)
    if twice:
        raise ValueError(f"given more than once: {', '.join(twice)}")
    return models


def _json(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_mapping, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise ValueError(f"not a JSON list: {error}") from None
    except RecursionError:
        raise ValueError("not a JSON list: it is nested too deeply") from None


def _mapping(pairs: list[tuple[str, object]]) -> dict[str, object]:
    keys = [key for key, _ in pairs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"a JSON object has a key more than once: {', '.join(twice)}")
    return dict(pairs)


def _integer(text: str) -> int:
    if text == "-0":  # which would become the version 0
        raise ValueError("-0 is read as the number 0: quote it, or write 0")
    return int(text)


def _entry(item: object) -> object:
    if isinstance(item, dict | Model):
        return item
    if not isinstance(item, str):
        return {"name": item}
    text = item.strip()
    name, colon, version = text.rpartition(":")
    if colon and not version:
        raise ValueError(f"{text!r} has no version after its colon")
    return {"name": name, "version": version} if colon else {"name": version}
