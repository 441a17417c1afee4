"""The addresses of the server, if its name or URL has several.

gRPC tries them one after the other, and its error contains only the text of the
last one. `localhost` is `::1` and `127.0.0.1`, so a server on one of them looks
unreachable whenever the other was tried last.
"""

import ipaddress
import socket
from collections.abc import Awaitable, Callable
from functools import partial

from sidecar.blocking import BlockingCalls

# The maximum number of addresses of a name that are probed separately.
MOST = 8

# Resolves a host and a port to address families and addresses; OSError if there are none.
Lookup = Callable[[str, int], Awaitable[list[tuple[socket.AddressFamily, str]]]]


async def look_up(
    calls: BlockingCalls, host: str, port: int
) -> list[tuple[socket.AddressFamily, str]]:
    """Return the family and the address of each address of a host. Raises OSError if none."""
    found = await calls.run(partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM))
    return [(family, str(address[0])) for family, *_, address in found]


async def urls(address: str, look_up: Lookup) -> list[str]:
    """Return a URL for each address of a target in gRPC's form; none for a single address.

    For a name with one address, one URL is returned, because gRPC's own lookup may
    find more, as it always does for `localhost`. For a name that cannot be resolved
    there is none; gRPC's error has the cause.
    """
    kind, _, rest = address.partition(":")
    if kind in ("ipv4", "ipv6"):
        parts = [f"{kind}:{part}" for part in rest.split(",")]
        return parts[:MOST] if len(parts) > 1 else []
    host, port = host_and_port(address)
    if not host:
        return []
    try:
        found = await look_up(host, port)
    except (OSError, UnicodeError):
        return []
    schemes = {socket.AF_INET: "ipv4:{}:{}", socket.AF_INET6: "ipv6:[{}]:{}"}
    known = [schemes[f].format(ip, port) for f, ip in dict.fromkeys(found) if f in schemes]
    return known[:MOST]


def named(address: str) -> list[tuple[str, str]]:
    """Return the channel arguments for a connection to one address of a name.

    With them `:authority` and the name expected in the certificate are the server's name.
    """
    host, port = host_and_port(address)
    if not host:
        return []
    return [
        ("grpc.default_authority", f"{host}:{port}"),
        ("grpc.ssl_target_name_override", host),
    ]


def host_and_port(address: str) -> tuple[str, int]:
    """Return host name and port of a target in gRPC's form; an empty name if it has none."""
    if address.partition(":")[0] in ("unix", "unix-abstract", "ipv4", "ipv6"):
        return "", 0
    host, _, port = address.removeprefix("dns:///").rpartition(":")
    if not port.isdecimal() or _is_ip(host.strip("[]")):
        return "", 0
    return host, int(port)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
