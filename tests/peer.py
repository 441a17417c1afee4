"""A peer that is no gRPC server, on a port of 127.0.0.1."""

import contextlib
import socket
import threading
from typing import Self


class Peer:
    """Accepts connections, sends some bytes, and then keeps silent or closes."""

    def __init__(self, port: int = 0, sends: bytes = b"", *, closes: bool = False) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._sends, self._closes = sends, closes
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                plug, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):  # it has gone again
                plug.sendall(self._sends)
            if self._closes:
                plug.close()
            else:
                self._open.append(plug)

    def close(self) -> None:
        """Gives the port back."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for plug in self._open:
            plug.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
