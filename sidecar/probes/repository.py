"""The models in the server's repository, by RepositoryIndex over a connection of its own."""

from typing import NamedTuple

import grpc.aio

from sidecar.client.channel import parse_url
from sidecar.client.health import HealthClient
from sidecar.core.checks import REPOSITORY_INDEX
from sidecar.core.reasons import Reason
from sidecar.core.repository import Row, row
from sidecar.core.target import Target
from sidecar.probes.channel import MAX_DETAIL, channel_args
from sidecar.probes.classify import classify

# MLServer takes up to a second for 200 models.
TIMEOUT = 10
# Triton's reason for a failed load is a whole traceback.
MAX_BYTES = 4 * 1024 * 1024


class Index(NamedTuple):
    """The result of RepositoryIndex; `rows` are set only for `ok`."""

    reason: Reason
    detail: str = ""
    rows: tuple[Row, ...] = ()


async def index(target: Target) -> Index:
    """Call RepositoryIndex; a failing server is a result, not an exception."""
    replaced = "grpc.max_receive_message_length"
    args = [(name, value) for name, value in channel_args(target) if name != replaced]
    client = HealthClient(
        target.url,
        use_ssl=parse_url(target.url, tls=target.tls).tls,
        root_certificates=target.root_certificates,
        private_key=target.private_key,
        certificate_chain=target.certificate_chain,
        channel_args=[*args, (replaced, MAX_BYTES)],
        retries=0,
        grpc_service=target.service,
    )
    async with client:
        try:
            found = await client.repository_index(TIMEOUT, target.headers)
        except grpc.aio.AioRpcError as error:
            code, text = error.code(), error.details() or ""
            reason = classify(REPOSITORY_INDEX, code, text)
            return Index(reason, f"{code.name}: {text}"[:MAX_DETAIL])
    rows = (row(each.name, each.version, each.state, each.reason) for each in found)
    return Index(Reason.OK, "", tuple(rows))
