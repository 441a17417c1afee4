"""`sidecar canary MODEL`: sends one canary, and prints its request and result."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from sidecar.client.errors import InvalidInput
from sidecar.client.inference.request import InferRequest
from sidecar.client.inference.response import InferResponse
from sidecar.config.files import Loaded
from sidecar.core.checks import Check, Observation
from sidecar.core.checks import canary as canary_of
from sidecar.core.reasons import REASONS, Reason
from sidecar.probes.inference import CanaryProbe

NOT_READY = 1


class Exchange:
    """The request that was sent, and its replies."""

    def __init__(self) -> None:
        self.request: InferRequest | None = None
        self.responses: list[InferResponse] = []

    def __call__(self, request: InferRequest, responses: list[InferResponse]) -> None:
        """Keep the last request and its replies."""
        self.request, self.responses = request, responses


def canary(loaded: Loaded, model: str, save: str | None) -> int:
    """Send a canary with the model's configured request, or a generated one.

    Returns the exit code: 0 for a success, otherwise as for `sidecar check`.
    """
    name, _, version = model.rpartition(":") if ":" in model else (model, "", "")
    check = canary_of(name, version)
    exchange = Exchange()
    seen = asyncio.run(_send(loaded, check, exchange))
    if exchange.request is not None:
        print(f"request: {_text(_request(exchange.request))}")
    for response in exchange.responses:
        for output in response.outputs:
            print(f"output {output.name!r}: {output.datatype} {output.shape}")
    if seen is None:
        print(f"{check.name}: the model is not ready")
        return NOT_READY
    detail = f": {seen.detail}" if seen.detail else ""
    print(f"{check.name}: {seen.reason} after {seen.duration:.3f} s{detail}")
    if seen.reason is not Reason.OK:
        return REASONS[seen.reason].exit_code
    if save is not None and exchange.request is not None:
        _save(Path(save), exchange.request, exchange.responses[-1])
    return 0


async def _send(loaded: Loaded, check: Check, exchange: Exchange) -> Observation | None:
    """Return the first result or the first timeout; None if the model is not ready."""
    settings = loaded.settings
    probe = CanaryProbe(
        loaded.target,
        {check: loaded.canaries.get(check)},
        max_reply_bytes=settings.canary_max_reply_bytes,
        clock=time.monotonic,
        exchanged=exchange,
    )
    async for seen in probe.ask(check, settings.canary_timeout_seconds):
        return seen
    return None


def _request(request: InferRequest) -> dict[str, Any] | str:
    """Return the request in V2 JSON, as in a file of `canary_dir`, or why it has no JSON form."""
    try:
        document, _ = request.to_rest()
    except InvalidInput as error:
        return str(error)
    del document["id"], document["model_name"]
    return document


def _save(path: Path, request: InferRequest, response: InferResponse) -> None:
    """Write the request and the reply as files for `canary_dir`."""
    document, _ = response.to_rest()
    expected = path.with_name(f"{path.name.removesuffix('.json')}.expect.json")
    path.write_text(_text(_request(request)) + "\n")
    expected.write_text(_text({"outputs": document["outputs"]}) + "\n")
    print(f"wrote {path} and {expected}")


def _text(document: dict[str, Any] | str) -> str:
    return document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
