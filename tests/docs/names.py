"""The names in the pages: settings, variables, metrics, endpoints; and which do not exist."""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml
from aiohttp.web import Application

from docs.reference import families, metric_name
from sidecar.config import Settings
from sidecar.core.reasons import REASONS
from sidecar.outputs.http.app import build_app
from tests.docs.commands import commands
from tests.docs.pages import ROOT, inline

SETTINGS = set(Settings.model_fields)
VARIABLES = {f"SIDECAR_{name.upper()}" for name in SETTINGS} | {"SIDECAR_CONFIG"}
# A name in code looks like a setting when it ends as one does.
ENDINGS = {name.rpartition("_")[2] for name in SETTINGS if "_" in name} - {"ready"}
# Names of others that look like one: of the rules and of Prometheus' client library.
OTHERS = {"runbook_url", "process_*", "python_*", "keepalive_requests", "from_bytes"}

HISTOGRAM = ("_bucket", "_count", "_sum")
RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"


def unknown_variables(text: str) -> list[str]:
    """The variables SIDECAR_... that are no setting's."""
    found = re.findall(r"\bSIDECAR_[A-Z_]*[A-Z]\b", text)
    return [variable for variable in found if variable not in VARIABLES]


def unknown_settings(text: str) -> list[str]:
    """The names in code that look like a setting and are none; `tls_*` stands for several."""
    names = [re.split(r"[:=]", code)[0] for code in inline(text)]
    alike = [
        name
        for name in names
        if re.fullmatch(r"[a-z]+(_[a-z]+)*_(\*|[a-z]+)", name)
        and (name.endswith("*") or name.rpartition("_")[2] in ENDINGS)
    ]
    known = {*SETTINGS, *OTHERS, *map(str, REASONS), *metric_names()}
    return [name for name in alike if not any(fnmatchcase(k, name) for k in known)]


def metric_names() -> set[str]:
    """Every metric by the names under which its series are queried."""
    names = set()
    for family in families():
        names.add(metric_name(family))
        if family.type == "histogram":
            names |= {family.name + ending for ending in HISTOGRAM}
    return names


def recorded() -> set[str]:
    """The series that the rules record; they are not the sidecar's own."""
    groups = yaml.safe_load(RULES.read_text())["spec"]["groups"]
    return {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}


def unknown_metrics(text: str) -> list[str]:
    """The names inference_... that are no metric's and are not recorded."""
    found = re.findall(
        r"(?<![\w:/.-])(?:\w+:)*inference_[a-z]+(?:_[a-z]+)*(?::\w+)*\b(?![*/.])", text
    )
    known = metric_names() | recorded()
    return [name for name in found if name not in known]


def unknown_endpoints(text: str) -> list[str]:
    """The paths of the sidecar's port, in sentences and in commands of curl, that are 404."""
    paths = [code for code in inline(text) if re.fullmatch(r"/[a-z]+z?(/[a-z]+:.*)?(\?.*)?", code)]
    for words in commands(text):
        if words[0] == "curl":
            urls = (w if "//" in w else f"http://{w}" for w in words[1:] if not w.startswith("-"))
            paths += [urlsplit(url).path or "/" for url in urls]
    resources = [resource.get_info() for resource in _app().router.resources()]
    return [path for path in paths if not any(_fits(path, info) for info in resources)]


def _fits(path: str, info: Mapping[str, Any]) -> bool:
    plain = unquote(path.partition("?")[0])
    pattern = info.get("pattern")
    return plain == info.get("path") or bool(pattern and pattern.fullmatch(plain))


def _app() -> Application:
    """The sidecar's own endpoints; here they are looked up and never asked."""

    def never(*_: object) -> Any:
        raise AssertionError

    return build_app(never, never, never)
