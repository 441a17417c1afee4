"""The gRPC channel for a URL and options: parse the URL, read the TLS files, set the defaults."""

import ipaddress
import json
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from sidecar.client.errors import InvalidInput, shown

# Names and values of gRPC channel arguments.
ChannelArgs = Sequence[tuple[str, Any]]

# The path of a PEM file, or what one holds.
Pem = str | bytes | None

# Whether a scheme uses TLS; with grpc:// the other arguments decide.
SCHEMES = {"grpc": None, "grpcs": True, "http": False, "https": True}

_HOST_PORT = re.compile(r"(?P<host>\[[^\[\]]+\]|[\w.-]+)(?::(?P<port>[0-9]{1,9}))?")

# The length of Linux' sockaddr_un. gRPC accepts longer paths, and then never frees the channel.
MAX_SOCKET_PATH = 107

PORTS = range(1, 65536)

# The highest number of attempts in gRPC's core.
MAX_ATTEMPTS = 5

# A status text is sent as metadata, which gRPC limits to 8 to 16 KiB; with a longer text the
# server's status is lost and the call ends with RESOURCE_EXHAUSTED. This limit admits 1 MiB of
# any text in its escaped form (measured: six bytes for é).
MAX_METADATA = 16 * 2**20
METADATA_LIMITS = ("grpc.max_metadata_size", "grpc.absolute_max_metadata_size")


@dataclass(frozen=True, slots=True)
class Target:
    """The server that a URL names.

    address:   the address in gRPC's form.
    tls:       whether TLS is used.
    loopback:  whether every address is a loopback address or a Unix socket.
    """

    address: str
    tls: bool
    loopback: bool


def without_secrets(url: str) -> str:
    """Return the URL with `***` for the part before an `@`, except the scheme, and after a `?`."""
    return re.sub(r"(?s)\?.*", "?***", re.sub(r"(?s)^(\W?\w+://)?.*@", r"\1***@", url))


def fit(url: object) -> str:
    """Return the value given as a URL as an error text may show it: without secrets, and short."""
    return shown(without_secrets(url) if isinstance(url, str) else url)


def parse_url(url: str, *, tls: bool = False) -> Target:
    """Return the target that a URL names.

    url:  as in HealthClient.
    tls:  whether the caller passed credentials or asked for TLS. The schemes
          https and grpcs imply TLS; http excludes it.

    The default port is 80, with TLS 443, as in KServe's client. Raises
    InvalidInput if the URL is not valid.
    """
    if not isinstance(url, str) or not url.isprintable():
        raise InvalidInput(f"url {fit(url)} is not text on one line")
    kind, _, path = url.partition(":")
    if kind in ("unix", "unix-abstract"):
        # In unix://name the name is an authority, which gRPC rejects when it connects.
        if not path.strip("/") or re.match("//[^/]", path):
            raise InvalidInput(f"url {fit(url)} is neither unix:path nor unix:///path")
        if len(os.fsencode(path)) > MAX_SOCKET_PATH:
            raise InvalidInput(f"url {fit(url)}: the path is longer than {MAX_SOCKET_PATH} bytes")
        return Target(url, tls, loopback=True)
    if kind == "dns" and not re.match("//[^/]", path):
        address, host = _host_port(url, path.removeprefix("///"), tls=tls)
        return Target(f"dns:///{address}", tls, _is_loopback(host))
    if kind in ("ipv4", "ipv6"):
        hosts = [_host_port(url, part, tls=tls) for part in path.split(",")]
        target = f"{kind}:" + ",".join(address for address, _ in hosts)
        return Target(target, tls, all(_is_loopback(host) for _, host in hosts))
    rest = url
    if "://" in url:
        scheme, _, rest = url.partition("://")
        tls = _decide(url, scheme, tls=tls)
        rest = rest.removesuffix("/")
    address, host = _host_port(url, rest, tls=tls)
    return Target(address, tls, _is_loopback(host))


def _decide(url: str, scheme: str, *, tls: bool) -> bool:
    """Return whether TLS is used, by the scheme and by what the caller asked for."""
    if scheme not in SCHEMES:
        raise InvalidInput(f"url {fit(url)}: unknown scheme, known are {', '.join(SCHEMES)}")
    decided = SCHEMES[scheme]
    if decided is None:
        return tls
    if tls and not decided:
        raise InvalidInput(f"url {fit(url)}: {scheme}:// is plaintext, but TLS was asked for")
    return decided


def _host_port(url: str, text: str, *, tls: bool) -> tuple[str, str]:
    match = _HOST_PORT.fullmatch(text)
    if not match:
        raise InvalidInput(f"url {fit(url)} is not host:port (no path, no user, IPv6 in brackets)")
    host = match["host"]
    if host.startswith("["):
        _check_ipv6(url, host[1:-1])
    port = int(match["port"]) if match["port"] else (443 if tls else 80)
    if port not in PORTS:
        raise InvalidInput(f"url {fit(url)}: port {port} is outside 1-65535")
    return f"{host}:{port}", host


def _check_ipv6(url: str, address: str) -> None:
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        raise InvalidInput(f"url {fit(url)}: {address!r} is not an IPv6 address") from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def channel_options(
    target: Target, channel_args: ChannelArgs | None, retries: int | None
) -> list[tuple[str, Any]]:
    """Return the channel's arguments: the defaults, replaced where the caller gives a value.

    channel_args:  pairs of a name and a value; the sequence is not changed.
    retries:       number of attempts, as in HealthClient.

    By default message sizes are unlimited, a status with a text of up to 1 MiB
    is received, and a proxy from the environment is not used for a loopback
    address. Retries are enabled even if `retries` asks for none: without a
    retry policy gRPC then only repeats calls that the server did not process,
    as when it closes the connection gracefully (GOAWAY).

    Raises InvalidInput if `retries` is neither an int nor None, or if
    `channel_args` are not pairs. Warns (UserWarning) if `retries` is more than
    5, and makes 5 attempts.
    """
    options: dict[str, Any] = {
        "grpc.max_send_message_length": -1,
        "grpc.max_receive_message_length": -1,
        "grpc.enable_retries": 1,
    }
    if target.loopback:
        options["grpc.enable_http_proxy"] = 0
    if not (retries is None or isinstance(retries, int)):
        raise InvalidInput(f"retries {shown(retries)} is neither a whole number nor None")
    try:
        given = {str.__str__(name): value for name, value in channel_args or ()}
    except (TypeError, ValueError):
        raise InvalidInput("channel_args are not pairs of a name and a value") from None
    if not given.keys() & set(METADATA_LIMITS):  # gRPC derives one from the other
        options |= dict.fromkeys(METADATA_LIMITS, MAX_METADATA)
    attempts = retries or 0
    if attempts > MAX_ATTEMPTS:
        warnings.warn(f"retries={retries}: gRPC makes at most {MAX_ATTEMPTS}", stacklevel=3)
        attempts = MAX_ATTEMPTS
    if attempts > 1 and given.get("grpc.enable_retries") != 0:
        options["grpc.service_config"] = _service_config(attempts)
    return list({**options, **given}.items())


def _service_config(attempts: int) -> str:
    """Return a policy that retries UNAVAILABLE for every method, after 0.1 s doubling to 1 s."""
    retry = {
        "maxAttempts": attempts,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": retry}]})


def credentials(
    root_certificates: Pem, private_key: Pem, certificate_chain: Pem
) -> grpc.ChannelCredentials:
    """Return TLS credentials from PEM files.

    root_certificates:  None for gRPC's default root certificates.
    private_key, certificate_chain:
                        the client's; None for no client certificate.

    Raises InvalidInput if a file cannot be read, or if only one of the key and
    the certificate is given, which would abort the process inside gRPC.
    """
    if (private_key is None) != (certificate_chain is None):
        given = "private_key" if certificate_chain is None else "certificate_chain"
        missing = "certificate_chain" if certificate_chain is None else "private_key"
        raise InvalidInput(f"{given} was given without {missing}; give both or neither")
    return grpc.ssl_channel_credentials(
        root_certificates=_read(root_certificates),
        private_key=_read(private_key),
        certificate_chain=_read(certificate_chain),
    )


def close_hint(*, tls: bool, certificate: bool) -> str:
    """Return the likely cause when the server closes each connection before it answers.

    tls:          whether the client uses TLS.
    certificate:  whether it has a client certificate.

    gRPC's text is only `Socket closed` when the server requires TLS or a
    client certificate, or does not trust the one that it received.
    """
    if not tls:
        return "plaintext was spoken: does the server want TLS?"
    if not certificate:
        return "no client certificate was shown: does the server want one?"
    return "does the server trust the client's certificate?"


def _read(pem: Pem) -> bytes | None:
    if isinstance(pem, bytes):
        return pem
    try:
        return None if pem is None else Path(pem).read_bytes()
    except (OSError, TypeError, ValueError) as error:
        raise InvalidInput(f"file {shown(pem)} cannot be read: {error}") from None


def open_channel(
    target: Target, creds: grpc.ChannelCredentials | None, options: list[tuple[str, Any]]
) -> grpc.aio.Channel:
    """Return a channel for the running event loop. It connects when the first call is made.

    creds:    TLS credentials; None for plaintext.
    options:  the channel's arguments, see `channel_options`.
    """
    if creds is None:
        return grpc.aio.insecure_channel(target.address, options=options)
    return grpc.aio.secure_channel(target.address, creds, options=options)
