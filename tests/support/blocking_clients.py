"""Clients of one gateway that block, and see to the nanosecond when what they listen to has ended.

Of sockets that may be in another network; plain HTTP/1.1, so that nothing is between the socket
and the clock.
"""

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from authority import Files
from installation import Premises, wait_until

_SECONDS = 60
Connect = Callable[[int], socket.socket]  # to a port of the machine's loopback address


class Said(NamedTuple):
    """An answer's status, and the slug of its problem."""

    status: int
    problem: str = ""


OK = Said(200)
REVOKED = Said(401, "branch-revoked")
STALE = Said(503, "revocation-unavailable")
UNPAID = Said(503, "budget-unavailable")
HELD = Said(503, "orchestrator-held")


def loopback(port: int) -> socket.socket:
    """In this network."""
    return socket.create_connection(("127.0.0.1", port), _SECONDS)


class Caller:
    """Calls a gateway, over one connection as long as it lasts; `offset` is of the listener."""

    def __init__(
        self,
        machine: Premises,
        connect: Connect = loopback,
        *,
        offset: int = 0,
        files: Files | None = None,
    ) -> None:
        self._context = ssl.create_default_context(cafile=machine.folder / "certs" / "ca.pem")
        if files is not None:
            self._context.load_cert_chain(files.certificate, files.key)
        self._connect, self._port = connect, machine.port + offset
        self._http: http.client.HTTPConnection | None = None

    def call(self, token: str, path: str = "/search") -> Said:
        """One call."""
        status, body = self.post(token, path, b"{}")
        slug = json.loads(body)["type"].rpartition("/")[2] if status >= 400 else ""
        return Said(status, slug)

    def post(
        self, token: str, path: str, body: bytes, fields: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """The status and the body of an answer.

        It asks again over another connection where the one before had ended.
        """
        common = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        for _ in range(2):
            connection = self._http or self._connected()
            try:
                connection.request("POST", path, body, common | (fields or {}))
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException):
                self.close()
        raise ConnectionError("hung up twice")

    def stream(self, token: str) -> "Stream":
        """An open event stream."""
        head = f"GET /stream?every=20 HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}"
        request = f"{head}\r\nconnection: close\r\n\r\n".encode()
        return Stream(self.secure(), request, b"data: 0\n\n")

    def close(self) -> None:
        """Hang up."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def _connected(self) -> http.client.HTTPConnection:
        self._http = http.client.HTTPConnection("localhost")
        self._http.sock = self.secure()
        return self._http

    def secure(self) -> ssl.SSLSocket:
        """A new connection."""
        plain = self._connect(self._port)
        plain.settimeout(_SECONDS)
        return self._context.wrap_socket(plain, server_hostname="localhost")


def becomes(caller: Caller, token: str, end: Said, *before: Said, path: str = "/search") -> None:
    """Its calls are answered as `before` a while, then so; what is revoked stays so."""

    def has_come() -> bool:
        said = caller.call(token, path)
        assert said in {end, *before}, said
        return said == end

    wait_until(has_come, _SECONDS)
    if end == REVOKED:
        assert caller.call(token, path) == end


class Stream:
    """One answer in events, of which the first is there; then a thread listens to its end."""

    def __init__(self, connection: ssl.SSLSocket, request: bytes, first: bytes) -> None:
        self.heard = b""
        self.last_ns = 0  # CLOCK_MONOTONIC: when the last bytes were here
        self.why = ""  # it ended otherwise than in order
        self._connection = connection
        connection.sendall(request)
        while first not in self.heard:
            self._hear()
            assert self.heard.startswith(b"HTTP/1.1 200 "), self.heard
            assert not self.why
        connection.settimeout(None)  # it stays open for as long as its test needs
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """No end was heard yet."""
        return self._thread.is_alive()

    def end(self) -> None:
        """Wait for it: its connection was given so much patience."""
        self._thread.join()
        self._connection.close()

    def close(self) -> None:
        """Hang up."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self.end()

    def _listen(self) -> None:
        while self._hear():
            pass

    def _hear(self) -> bool:
        try:
            data = self._connection.recv(65_536)
        except OSError as error:
            self.why = str(error)
            self.last_ns = time.monotonic_ns()
            return False
        if data:
            self.last_ns = time.monotonic_ns()
            self.heard += data
        return bool(data)
