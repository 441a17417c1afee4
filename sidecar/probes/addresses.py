"""The addresses of the server, where one name or URL stands for several.

gRPC tries them one after the other, and its error has the text of the last
one alone: `localhost` is `::1` and `127.0.0.1`, and a server on one of them
looks unreachable whenever the other one was tried last.
"""

import ipaddress
import socket
from collections.abc import Awaitable, Callable
from functools import partial

from sidecar.blocking import BlockingCalls

# Of a name with more addresses than this, the others are not asked by themselves.
MOST = 8

# From a host and a port to its addresses, each with its family; OSError when there are none.
Lookup = Callable[[str, int], Awaitable[list[tuple[socket.AddressFamily, str]]]]


async def look_up(
    calls: BlockingCalls, host: str, port: int
) -> list[tuple[socket.AddressFamily, str]]:
    """The address family and the address of each of a host's addresses; OSError for none."""
    found = await calls.run(partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM))
    return [(family, str(address[0])) for family, *_, address in found]


async def urls(address: str, look_up: Lookup) -> list[str]:
    """A URL for each address of a target in gRPC's form; none for what is one address already.

    A name with one address has one: gRPC's own look-up may know more, as it
    always does of `localhost`. One that cannot be looked up has none: gRPC's
    error says why.
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
    """Channel arguments by which a channel to one address behaves as one to the name.

    The server sees the name in `:authority`, and its certificate must be for the name.
    """
    host, port = host_and_port(address)
    if not host:
        return []
    return [
        ("grpc.default_authority", f"{host}:{port}"),
        ("grpc.ssl_target_name_override", host),
    ]


def host_and_port(address: str) -> tuple[str, int]:
    """The name and the port of a target in gRPC's form; an empty name when there is none."""
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
