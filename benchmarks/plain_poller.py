"""The plain poller that most teams would write on KServe's own client, to compare with.

python plain_poller.py URL PORT PERIOD [MODEL...]     (in KServe's environment)
"""

import asyncio
import sys
from typing import Any

import grpc
from aiohttp import web
from kserve import InferenceGRPCClient  # type: ignore[import-not-found]

ready = False


async def all_ready(client: Any, models: list[str]) -> bool:
    """Whether the server and every model say that they are ready."""
    try:
        answers = [await client.is_server_ready(timeout=2)]
        answers += [await client.is_model_ready(model, timeout=2) for model in models]
    except grpc.RpcError:
        return False
    return all(answers)


async def answer(request: web.Request) -> web.Response:
    """What the kubelet is told."""
    good = ready or request.path == "/healthz"
    return web.Response(text="ok" if good else "not ready", status=200 if good else 503)


async def main(url: str, port: str, period: str, *models: str) -> None:
    """Asks, sleeps, and asks again."""
    global ready  # noqa: PLW0603
    app = web.Application()
    app.add_routes([web.get("/healthz", answer), web.get("/readyz", answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(port)).start()
    client = InferenceGRPCClient(url)
    while True:
        ready = await all_ready(client, list(models))
        await asyncio.sleep(float(period))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
