"""A tool's server that keeps what it is sent, byte for byte, and reads it as naively as one can.

Shares no parser with the gateway: it cuts heads at the first empty line, fields at the first colon,
and believes any length. What a sloppy server could be led to see, it sees.
"""

import socket
import threading
from dataclasses import dataclass, field
from typing import Self

Field = tuple[bytes, bytes]


@dataclass
class Seen:
    """One request as it arrived."""

    raw: bytes  # head and body, as they came
    method: bytes
    target: bytes
    version: bytes
    fields: list[Field]
    body: bytes
    trailers: list[Field] = field(default_factory=list)

    def values(self, name: bytes) -> list[bytes]:
        """The values of a field."""
        return [value for key, value in self.fields if key.lower() == name]


class Recorder:
    """Listens on a port of loopback while the block runs; `seen` grows."""

    protocol = "http/1.1"

    def __init__(self, port: int = 0) -> None:
        self.seen: list[Seen] = []
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.add(sock)
            thread = threading.Thread(target=self._serve, args=(sock,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                self.talk(sock)
            except (EOFError, OSError):
                pass
            finally:
                self._open.discard(sock)

    def talk(self, sock: socket.socket) -> None:
        """Serve one connection."""
        _Reader(sock, self.seen).run()


class _Reader:
    def __init__(self, sock: socket.socket, seen: list[Seen]) -> None:
        self._sock = sock
        self._seen = seen
        self._data = b""
        self._used = b""

    def run(self) -> None:
        """One request after the other, until the end."""
        while True:
            self._used = b""
            head = self._until(b"\r\n\r\n")
            line, *lines = head.split(b"\r\n")
            method, _, rest = line.partition(b" ")
            target, _, version = rest.rpartition(b" ")
            seen = Seen(b"", method, target, version, _fields(lines), b"")
            self._body(seen)
            seen.raw = self._used
            self._seen.append(seen)
            content = b"" if method == b"HEAD" else b"ok"
            self._sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + content)

    def _body(self, seen: Seen) -> None:
        if any(b"chunked" in value.lower() for value in seen.values(b"transfer-encoding")):
            while size := int(self._until(b"\r\n").partition(b";")[0], 16):
                seen.body += self._take(size)
                self._take(2)
            lines = []
            while line := self._until(b"\r\n"):
                lines.append(line)
            seen.trailers = _fields(lines)
        elif lengths := seen.values(b"content-length"):
            seen.body = self._take(int(lengths[-1]))

    def _until(self, end: bytes) -> bytes:
        while end not in self._data:
            self._receive()
        found, _, self._data = self._data.partition(end)
        self._used += found + end
        return found

    def _take(self, size: int) -> bytes:
        while len(self._data) < size:
            self._receive()
        found, self._data = self._data[:size], self._data[size:]
        self._used += found
        return found

    def _receive(self) -> None:
        piece = self._sock.recv(65_536)
        if not piece:
            raise EOFError
        self._data += piece


def _fields(lines: list[bytes]) -> list[Field]:
    parts = [line.partition(b":") for line in lines]
    return [(name, value.strip(b" \t")) for name, _, value in parts]
