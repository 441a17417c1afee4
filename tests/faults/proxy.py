"""A path between the sidecar and its server that can be cut, slowed and spoilt."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Self

# Closes with RST rather than FIN.
RESET = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class Line:
    """One connection through the proxy; `dead` for ever when the path forgot it."""

    down: asyncio.StreamWriter
    up: asyncio.StreamWriter | None = None
    dead: bool = False


class Proxy:
    """Listens on a port of its own and forwards to another, in a thread of its own.

    silent:  nothing is forwarded; connections are accepted all the same.
    spoil:   what becomes of each chunk on its way back to the client.
    """

    def __init__(self, target: int) -> None:
        self.port = 0
        self.spoil: Callable[[bytes], bytes] = bytes
        self._target = target
        self._lines: set[Line] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def cut(self) -> None:
        """Stops to forward, without a word to anybody."""
        self._do(self._set(flowing=False))

    def heal(self, *, forget: bool = False) -> None:
        """Forwards again; what was under way arrives late, or is forgotten with its connection."""
        self._do(self._set(flowing=True, forget=forget))

    def reset(self) -> None:
        """Ends every connection with RST."""
        self._do(self._reset())

    def close(self) -> None:
        """Refuses new connections and ends the others."""
        self._do(self._close())

    def open(self) -> None:
        """Listens again, on the same port."""
        self._do(self._open())

    def __enter__(self) -> Self:
        self._thread.start()
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _set(self, *, flowing: bool, forget: bool = False) -> None:
        for line in self._lines if forget else ():
            line.dead = True
        if flowing:
            self._flowing.set()
        else:
            self._flowing.clear()

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._reset()

    async def _reset(self) -> None:
        for line in tuple(self._lines):
            for writer in (line.down, line.up):
                if writer is not None:
                    plug = writer.get_extra_info("socket")
                    with contextlib.suppress(OSError):
                        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(writer)
        self._lines.add(line)
        try:
            await self._flowing.wait()
            up_reader, line.up = await asyncio.open_connection("127.0.0.1", self._target)
            await asyncio.gather(
                self._pump(line, reader, line.up, bytes),
                self._pump(line, up_reader, writer, self._spoilt),
            )
        except OSError:
            pass  # the server is not there; the client's end is closed, too
        finally:
            self._lines.discard(line)
            for end in (line.down, line.up):
                if end is not None:
                    end.close()

    def _spoilt(self, data: bytes) -> bytes:
        return self.spoil(data)  # which may change while a connection stands

    async def _pump(
        self,
        line: Line,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        spoil: Callable[[bytes], bytes],
    ) -> None:
        while data := await reader.read(65536):
            await self._flowing.wait()
            if line.dead:
                continue
            writer.write(spoil(data))
            await writer.drain()
        if not line.dead:
            writer.close()
