"""Environment variables: settings, Kubernetes' service links, and misspelled names."""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping

PREFIX = "SIDECAR_"
CONFIG = PREFIX + "CONFIG"

# In a namespace with a Service `sidecar-http`, pods have the variables SIDECAR_HTTP_SERVICE_HOST,
# SIDECAR_HTTP_PORT_80_TCP_ADDR and others, and SIDECAR_HTTP_PORT=tcp://10.0.0.1:80.
_LINK = re.compile(r"(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_.+)?)")
_LINK_BY_VALUE = re.compile(r"(.+_)?PORT")
_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://\S+:[0-9]+")


class Variables:
    """The variables with the sidecar's prefix, in upper or lower case.

    given:     the text of each setting, by name.
    wrong:     names of settings, and why their variables cannot be used.
    warnings:  a sentence for each variable without effect.
    """

    def __init__(self, environ: Mapping[str, str], settings: Collection[str]) -> None:
        known = {PREFIX + name.upper(): name for name in settings}
        self.given: dict[str, str] = {}
        self.wrong: list[tuple[str, str]] = []
        self.warnings: list[str] = []
        for variable, text in sorted(environ.items()):
            name = variable.upper()
            if not name.startswith(PREFIX) or variable == CONFIG:
                continue
            if _is_link(name.removeprefix(PREFIX), text):
                if name in known:
                    self.warnings.append(
                        f"{variable} is ignored: {text!r} is Kubernetes' link to a Service;"
                        " enableServiceLinks: false in the pod leaves such variables out"
                    )
            elif name not in known:
                close = suggestion(name.removeprefix(PREFIX), (n.upper() for n in settings), PREFIX)
                self.warnings.append(f"{variable} is set, but there is no such setting{close}")
            elif text and self.given.setdefault(known[name], text) != text:
                self.wrong.append((known[name], f"given twice, by {name} and by {variable}"))


def suggestion(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return the end of an error about an unknown name: the most similar known one, if any."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {prefix}{close[0]}?" if close else ""


def _is_link(name: str, text: str) -> bool:
    by_value = _LINK_BY_VALUE.fullmatch(name) and _LINK_VALUE.fullmatch(text)
    return bool(by_value or _LINK.fullmatch(name))
