"""The API server as used from a pod: its address, the pod's token, and two calls."""

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp

from sidecar import __version__
from sidecar.blocking import BlockingCalls

# Where Kubernetes mounts a service account's token, CA and namespace by default.
DIRECTORY = Path("/var/run/secrets/kubernetes.io/serviceaccount")

# Seconds for a call, and for reading the files before it.
TIMEOUT = 10
FILES_TIMEOUT = 5

MAX_ERROR_BYTES = 4096
MAX_ERROR_TEXT = 300

FORBIDDEN, NOT_FOUND, CONFLICT = 403, 404, 409
# Statuses for a request that a later attempt would not make acceptable.
REFUSING = frozenset({400, 405, 406, 413, 415, 422})


class Failed(Exception):
    """A call failed.

    retry_after:  the seconds in the response's Retry-After, or 0.
    """

    def __init__(self, text: str, status: int = 0, retry_after: float = 0) -> None:
        super().__init__(text)
        self.status = status
        self.retry_after = retry_after

    @property
    def is_final(self) -> bool:
        """Whether a repetition of the call would fail too."""
        return self.status in REFUSING

    @property
    def is_about_the_object(self) -> bool:
        """Whether this object cannot be changed: it is gone, or patching is not allowed."""
        return self.status in {FORBIDDEN, NOT_FOUND, CONFLICT, *REFUSING}


class _Files(NamedTuple):
    token: str
    namespace: str
    ca: str


class ApiServer:
    """Creates and patches Events. The token, the CA and the namespace are read before each call.

    url:        of the API server; None if its address is not known.
    directory:  with the files `token`, `ca.crt` and `namespace`.
    timeout:    seconds for a call.
    """

    def __init__(
        self, url: str | None, directory: Path = DIRECTORY, timeout: float = TIMEOUT
    ) -> None:
        self._url = url
        self._directory = directory
        self._timeout = timeout
        self._calls = BlockingCalls("reading the service account's files", FILES_TIMEOUT)
        self._tls: tuple[str, ssl.SSLContext] | None = None

    async def create(self, event: Callable[[str], Mapping[str, Any]]) -> None:
        """Create an Event in the pod's namespace, unless an earlier attempt has created it.

        event:  returns the Event for a namespace.

        Raises Failed if it may not exist afterwards.
        """
        files = await self._read()
        try:
            await self._call(files, "POST", "", event(files.namespace), "application/json")
        except Failed as error:
            if error.status != CONFLICT:
                raise

    async def patch(self, name: str, changes: Mapping[str, Any]) -> None:
        """Change fields of an Event. Raises Failed if they may not be changed."""
        files = await self._read()
        path = f"/{quote(name, safe='')}"
        await self._call(files, "PATCH", path, changes, "application/merge-patch+json")

    async def _call(
        self, files: _Files, method: str, path: str, body: Mapping[str, Any], form: str
    ) -> None:
        namespace = quote(files.namespace, safe="")
        url = f"{self._url}/apis/events.k8s.io/v1/namespaces/{namespace}/events{path}"
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Authorization": f"Bearer {files.token}",
            "Content-Type": form,
            "User-Agent": f"inference-health-sidecar/{__version__}",
        }
        # A new connection for each call: there are at most six per minute, and none becomes stale.
        connector = aiohttp.TCPConnector(ssl=await self._context(files.ca), force_close=True)
        try:
            async with (
                asyncio.timeout(self._timeout),
                aiohttp.ClientSession(
                    connector=connector,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,
                ) as session,
                session.request(
                    method, url, data=json.dumps(body), headers=headers, allow_redirects=False
                ) as response,
            ):
                if response.status in (200, 201):
                    return
                text = await response.content.read(MAX_ERROR_BYTES)
                wait = response.headers.get("Retry-After", "")
                raise Failed(
                    f"{response.status} {_message(text)}".rstrip(),
                    response.status,
                    float(wait) if wait.isascii() and wait.isdigit() else 0,
                )
        except TimeoutError:
            raise Failed(f"no answer within {self._timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Failed(_printable(str(error) or type(error).__name__)) from None

    async def _read(self) -> _Files:
        if self._url is None:
            raise Failed("KUBERNETES_SERVICE_HOST is not set: the sidecar does not run in a pod")
        try:
            files: _Files = await self._calls.run(self._read_files)
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            raise Failed(_printable(str(error))) from None
        return files

    def _read_files(self) -> _Files:
        def read(name: str) -> str:
            return (self._directory / name).read_text("utf-8").strip()

        return _Files(read("token"), read("namespace"), read("ca.crt"))

    async def _context(self, ca: str) -> ssl.SSLContext:
        if self._tls is None or self._tls[0] != ca:

            def load() -> ssl.SSLContext:
                # With an empty text, create_default_context would trust every public CA.
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.load_verify_locations(cadata=ca)
                return context

            try:
                self._tls = ca, await self._calls.run(load)
            except (OSError, ValueError) as error:
                raise Failed(_printable(f"ca.crt: {error}")) from None
        return self._tls[1]


def in_cluster_url(environment: Mapping[str, str]) -> str | None:
    """Return the API server's URL from a container's environment; None outside Kubernetes."""
    host = environment.get("KUBERNETES_SERVICE_HOST")
    if not host:
        return None
    port = environment.get("KUBERNETES_SERVICE_PORT") or "443"
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _message(body: bytes) -> str:
    """Return the message of a Kubernetes Status, or the body if it is something else."""
    text = body.decode(errors="replace")
    try:
        status = json.loads(text)
    except (ValueError, RecursionError):
        status = None
    if isinstance(status, dict) and isinstance(status.get("message"), str):
        text = status["message"]
    return _printable(text)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:MAX_ERROR_TEXT]
