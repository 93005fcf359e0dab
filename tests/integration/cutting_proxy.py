"""A TCP proxy that cuts connections where a test says so: the wire as it really breaks."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

# Request line, what the answer's connection has carried of it before, what comes now -> bytes of it that still pass;
# None: all. After a cut both sides are closed.
Rule = Callable[[str, bytes, bytes], int | None]


class CuttingProxy:
    """Passes bytes on; `seen` has the first line of every request. `rule` may be changed at any time."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target, self.seen, self.cuts = target, [], 0
        self.rule: Rule = lambda line, before, now: None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, name="cutting-proxy", daemon=True)
        self._thread.start()

    seen: list[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        _end(self._listener)
        for each in list(self._open):
            _end(each)
        self._thread.join(10)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.create_connection(self.target) as server:
            self._open |= {client, server}
            asked = [""]
            threading.Thread(target=self._ask, args=(client, server, asked), daemon=True).start()
            self._answer(client, server, asked)
            _end(client)
            _end(server)
            self._open -= {client, server}

    def _ask(self, client: socket.socket, server: socket.socket, asked: list[str]) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                line = data.split(b"\r\n", 1)[0]
                if line.endswith(b"HTTP/1.1"):
                    asked[0] = line.decode()
                    self.seen.append(asked[0])
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _answer(self, client: socket.socket, server: socket.socket, asked: list[str]) -> None:
        before, line = b"", ""
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if asked[0] != line:
                    before, line = b"", asked[0]
                passing = self.rule(line, before, data)
                client.sendall(data if passing is None else data[:passing])
                if passing is not None:
                    self.cuts += 1
                    return
                before += data


@contextmanager
def cutting(url: str) -> Iterator[CuttingProxy]:
    place = urlsplit(url)
    assert place.hostname is not None
    assert place.port is not None
    proxy = CuttingProxy((place.hostname, place.port))
    try:
        yield proxy
    finally:
        proxy.close()


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
