"""The types of settings: the forms in which each may be written, and the text of its error."""

import os.path
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, WithJsonSchema

from sidecar.client.channel import PORTS, without_secrets
from sidecar.client.metadata import to_metadata
from sidecar.config.models import Mode, Model, distinct, parse, printable
from sidecar.core.snapshot import Quorum

SERVICE = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"
POD_NAME = r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"
UID = r"[A-Za-z0-9-]{1,128}"
AUTHORITY = r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
PERCENT = range(1, 101)
DAY = 86400


@dataclass(frozen=True, slots=True)
class Allowed:
    """The allowed values of a setting for its errors, and how errors show the given value."""

    text: str
    show: Callable[[object], str] = repr


def _headers(value: object) -> object:
    """Return the headers of `name=value,...` or of a mapping."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith(("{", "[")):
        raise ValueError("JSON; as text it is name=value")
    parts = [part.partition("=") for part in value.split(",")] if value.strip() else []
    if not all(equals for _, equals, _ in parts):
        raise ValueError("a part has no '=' between its name and its value")
    headers = {name.strip(): text.strip() for name, _, text in parts}
    if len(headers) < len(parts):
        raise ValueError("a header is given more than once")
    return headers


def _sendable(headers: dict[str, str]) -> dict[str, str]:
    to_metadata(headers)
    return headers


def _quorum(value: object) -> str:
    text = str(value).strip()
    match = re.fullmatch(r"all|any|([1-9][0-9]*)(%?)", text)
    if not match:
        raise ValueError("must be all, any, N or N%")
    if match[2] and int(match[1]) not in PERCENT:
        raise ValueError("more than 100%")
    return text


def quorum(text: str) -> Quorum:
    """Return the quorum for `all`, `any`, a count (`2`) or a percentage (`50%`)."""
    if text == "all":
        return Quorum(percent=100)
    if text == "any":
        return Quorum(count=1, percent=0)
    if text.endswith("%"):
        return Quorum(percent=int(text.removesuffix("%")))
    return Quorum(count=int(text), percent=0)


def _readable(path: Path) -> Path:
    try:
        if path.is_fifo():  # opening it would wait for a writer
            raise ValueError("is a FIFO, not a file")
        path.read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    return path


def _metrics_url(url: str) -> str:
    if not re.fullmatch(r"https?://[^/\s?#]+([/?]\S*)?", url):
        raise ValueError("not a URL of http or https")
    return url


def _directory(path: Path) -> Path:
    try:
        next(path.iterdir(), None)
    except OSError as error:
        raise ValueError(f"cannot be listed: {error.strerror}") from None
    return path


def _number(value: object) -> object:
    if isinstance(value, bool):  # YAML reads `no` and `off` as false, and int() as 0
        raise ValueError("not a number")
    return value


def _matches(pattern: str, what: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"not {what}")
        return text

    return AfterValidator(check)


def _authority(text: str) -> str:
    match = re.fullmatch(AUTHORITY, text)
    if not match:
        raise ValueError("neither host nor host:port")
    if match[2] and int(match[2][1:]) not in PORTS:
        raise ValueError(f"port {match[2][1:]} is outside {PORTS[0]}-{PORTS[-1]}")
    return text


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


_BOOLEAN = TypeAdapter(bool)


def _auto_or_boolean(value: object) -> object:
    if isinstance(value, str) and value.strip().lower() == "auto":
        return "auto"
    return _BOOLEAN.validate_python(value)


def _patterns(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


STRING = {"type": "string"}


def _written(*forms: dict[str, Any]) -> WithJsonSchema:
    """Return the JSON Schema of a setting that may be written in several forms."""
    return WithJsonSchema({"anyOf": list(forms)})


def _pattern(pattern: str) -> Any:
    return Field(json_schema_extra={"pattern": f"^{pattern}$"})


def _without_secrets(value: object) -> str:
    return repr(without_secrets(value)) if isinstance(value, str) else without_secrets(repr(value))


def _path(value: object) -> str:
    """Return a path. Errors do not show the value: it may be the secret instead of its file."""
    if isinstance(value, str):
        directory = os.path.dirname(value)  # noqa: PTH120 # a Path would drop parts of what is none
        in_directory = directory.strip("/.") and os.path.isdir(directory)  # noqa: PTH112
        if in_directory or os.path.lexists(value):
            return repr(value)
    return "a value that is not shown (neither the file nor its directory exists)"


Url = Annotated[
    str,
    Allowed(
        "host:port, grpc://, grpcs://, http://, https://, dns:///host:port or unix:///path",
        _without_secrets,
    ),
]
Service = Annotated[
    str,
    _matches(SERVICE, "the full name of a gRPC service"),
    _pattern(SERVICE),
    Allowed("the full name of a gRPC service, such as inference.GRPCInferenceService"),
]
Models = Annotated[
    tuple[Model, ...],
    BeforeValidator(parse),
    AfterValidator(distinct),
    _written(
        STRING, {"type": "array", "items": {"anyOf": [STRING, TypeAdapter(Model).json_schema()]}}
    ),
    Allowed(
        "name or name:version, separated by commas; or a list of such names or of"
        " {name, version, required, canary}"
    ),
]
# It comes after the bounds, or pydantic would not put them into the schema; it runs first.
Number = BeforeValidator(_number)
Seconds = Annotated[
    float, Field(gt=0, le=DAY), Number, Allowed("seconds, more than 0, at most a day")
]
SecondsOrZero = Annotated[float, Field(ge=0, le=DAY), Number, Allowed("seconds, from 0 to a day")]
Share = Annotated[float, Field(ge=0, le=1), Number, Allowed("a share from 0 to 1")]
Count = Annotated[int, Field(ge=1), Number, Allowed("a whole number from 1")]
AutoOrBoolean = Annotated[
    Literal["auto"] | bool,
    BeforeValidator(_auto_or_boolean),
    _written({"const": "auto"}, {"type": "boolean"}),
    Allowed("auto, true or false"),
]
QuorumText = Annotated[
    str,
    BeforeValidator(_quorum),
    _written(STRING, {"type": "integer"}),
    Allowed("all, any, a count of required models (2) or a share of them (50%)"),
]
MetricsUrl = Annotated[
    str,
    AfterValidator(_metrics_url),
    _pattern("https?://.+"),
    Allowed("a URL that begins with http:// or https://", _without_secrets),
]
PodName = Annotated[
    str, _matches(POD_NAME, "the name of a pod"), _pattern(POD_NAME), Allowed("the name of a pod")
]
Uid = Annotated[str, _matches(UID, "a uid"), _pattern(UID), Allowed("the uid of a pod")]
Switch = Annotated[bool, Allowed("true or false")]
Patterns = Annotated[
    tuple[Annotated[str, Field(min_length=1), AfterValidator(printable)], ...],
    BeforeValidator(_patterns),
    _written(STRING, {"type": "array", "items": STRING}),
    Allowed("patterns of names, separated by commas, or a list of them"),
]
CanaryMode = Annotated[Mode, _written({"enum": ["off", "auto", False]}), Allowed("off or auto")]
Directory = Annotated[
    Path, AfterValidator(_directory), Allowed("the path of a directory that can be listed")
]
File = Annotated[Path, AfterValidator(_readable), Allowed("the path of a file that can be read")]
# The value is a secret or may be one, such as a certificate and its key in one PEM text.
SecretFile = Annotated[
    Path,
    AfterValidator(_readable),
    Allowed("the path of a file that can be read", _path),
]
Text = Annotated[
    str, Field(min_length=1), AfterValidator(printable), Allowed("text", _without_secrets)
]
Authority = Annotated[
    str,
    AfterValidator(_authority),
    _pattern(AUTHORITY),
    Allowed("host or host:port; IPv6 in brackets", _without_secrets),
]
HeaderMap = Annotated[
    dict[str, str],
    BeforeValidator(_headers),
    AfterValidator(_sendable),
    _written(STRING, {"type": "object", "additionalProperties": STRING}),
    Allowed(
        "name=value, separated by commas, or a mapping; names in lower case",
        lambda _: "a value that is not shown",
    ),
]
Port = Annotated[
    int, Field(ge=0, le=65535), Number, Allowed("a port from 1 to 65535, or 0 for any free one")
]
ServicePort = Annotated[int, Field(ge=1, le=65535), Number, Allowed("a port from 1 to 65535")]
Lower = BeforeValidator(_lower)
