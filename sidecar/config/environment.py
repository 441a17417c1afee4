"""What the environment says: settings, Kubernetes' links to Services, and what is misspelt."""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping

PREFIX = "SIDECAR_"
CONFIG = PREFIX + "CONFIG"

# A namespace with a Service called `sidecar-http` gives its pods SIDECAR_HTTP_SERVICE_HOST,
# SIDECAR_HTTP_PORT_80_TCP_ADDR and others, and SIDECAR_HTTP_PORT=tcp://10.0.0.1:80.
_LINK = re.compile(r"(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_.+)?)")
_LINK_BY_VALUE = re.compile(r"(.+_)?PORT")
_LINK_VALUE = re.compile(r"(tcp|udp|sctp)://\S+:[0-9]+")


class Variables:
    """The variables with our prefix, in upper or lower case.

    given:     the text of each setting, by its name.
    wrong:     the name of a setting, and why its variables cannot be used.
    warnings:  a sentence for each variable that sets nothing.
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
    """What ends an error about an unknown name: the known one that is most like it, if any is."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {prefix}{close[0]}?" if close else ""


def _is_link(name: str, text: str) -> bool:
    by_value = _LINK_BY_VALUE.fullmatch(name) and _LINK_VALUE.fullmatch(text)
    return bool(by_value or _LINK.fullmatch(name))
