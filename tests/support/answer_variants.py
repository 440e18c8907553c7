"""Answers of tool servers that are odd, hostile or merely old, and a server that gives them.

`ANSWERS` are bytes; `read` is the one strict reading of those that have one.
"""

import re
import socket
from collections.abc import Iterator

from recording_server import Recorder

Field = tuple[bytes, bytes]
OK = b"HTTP/1.1 200 OK\r\n"
_STRICT = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*)")

LINES = (
    b"Set-Cookie: a=b\r\nSet-Cookie: c=d", b"X-A: 1\r\nx-a: 2", b"X-A:1", b"X-A: \t 1", b"X-A:",
    b"X-A: \t1 \t",
    b"X-A : 1", b" X-A: 1", b"X-A: 1\r\n b", b"X-A: 1\r\n\tb", b"X-A\r\nX-B: 1", b"X A: 1", b": 1",
    b"X-A: a\rX-B: b", b"X-A: a\nX-B: b", b"X-A: a\x00b", b"X-A: a\x01b", b"X-A: a\x7fb",
    b"X-\xc3: 1",
    b"X-A: \xc3\xa4\xff", b"X_A: 1", b"X-A: " + b"a" * 9000, b"X-A: " + b"a" * 80_000,
    b"X-Crewgate-Crew: liar", b"X-Crewgate-Request: 1", b"Via: 1.1 cache",
    b"Via: 1.0 a\r\nVia: 1.1 b",
    b"Connection: X-A\r\nX-A: 1", b"Connection: a,x-a,b\r\nX-A: 1\r\nA: 2",
    b"Connection: Content-Length", b"Connection: via\r\nVia: 1.1 cache", b"Keep-Alive: timeout=1",
    b"Proxy-Authenticate: Basic", b"Proxy-Authentication-Info: a", b"Proxy-Connection: close",
    b"Upgrade: h2c\r\nConnection: Upgrade", b"TE: trailers", b"Trailer: X-Sum",
    b"HTTP2-Settings: a",
    b"Date: Thu, 01 Jan 1970 00:00:00 GMT", b"Server: tool", b"WWW-Authenticate: Bearer",
    b"Location: /other", b"Alt-Svc: clear", b"Link: </a>; rel=preload", b"Status: 500", b"Host: b",
    b":status: 500", b"Transfer-Encoding: identity", b"Content-Length: 2", b"Content-Length: 3",
    b"Content-Length: 2, 2", b"Content-Length: +2", b"Content-Length: 99999999999999999999",
)  # fmt: skip
STATUSES = (
    b"HTTP/1.1 200\r\n", b"HTTP/1.1 200 \r\n", b"HTTP/1.1 200 \xc3\xa4\r\n", b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 099 Odd\r\n", b"HTTP/1.1 999 Odd\r\n", b"HTTP/1.1 1000 Odd\r\n",
    b"HTTP/1.1 20 Odd\r\n",
    b"HTTP/1.1 -200 Odd\r\n", b"HTTP/2 200 OK\r\n", b"HTTP/1.1  200 OK\r\n", b"ICY 200 OK\r\n",
    b"200 OK\r\n",
    b"HTTP/1.1 200 a\x00b\r\n", b"HTTP/1.1 200 a\rb\r\n", b"HTTP/1.1 200 OK\n",
    b"\r\nHTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 407 No\r\n", b"HTTP/1.1 401 No\r\n", b"HTTP/1.1 503 No\r\n",
    b"HTTP/1.1 302 There\r\n",
    b"HTTP/1.1 101 Upgrade\r\nUpgrade: a\r\nConnection: upgrade\r\n",
)  # fmt: skip
BODIES = (
    b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nX-Crewgate-A: a\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nTE: b\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: a\nX-B: b\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n X-Sum: a\r\n\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n",
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n2\r\nok",
    b"Content-Length: 2\r\n\r\nokHTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
    b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok",
    b"Content-Length: 3\r\n\r\nok",
    b"\r\nok",
    b"",
)


def answers() -> Iterator[bytes]:
    """All of them, each whole; the connection ends behind it."""
    for line in LINES:
        yield OK + line + b"\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        yield OK + line + b"\r\nContent-Length: 2\r\n\r\nok"
    for status in STATUSES:
        yield status + b"Content-Length: 2\r\n\r\nok"
    for body in BODIES:
        yield OK + body
        yield b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x\r\n\r\n" + OK + body


def read(answer: bytes) -> list[Field] | None:
    """The fields of an answer's head by a strict server; None if it finds fault with one."""
    if answer.startswith(b"HTTP/1.1 103 "):
        answer = answer.partition(b"\r\n\r\n")[2]
    _, *lines = answer.lstrip(b"\r\n").partition(b"\r\n\r\n")[0].split(b"\r\n")
    found = [_STRICT.fullmatch(line) for line in lines]
    if not all(found):
        return None
    return [(match[1].lower(), match[2].rstrip(b" \t")) for match in found if match]


class Answering(Recorder):
    """Gives the answer whose number the query is, and closes; without a query a good one.

    A server that fails several times in a row is left out, so good ones come between the others.
    """

    given = tuple(answers())

    def talk(self, sock: socket.socket) -> None:
        """Serve one connection."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = sock.recv(65_536)
            if not piece:
                return
            data += piece
        number = data.split(b" ")[1].partition(b"?")[2]
        sock.sendall(self.given[int(number)] if number else OK + b"Content-Length: 2\r\n\r\nok")
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65_536):
            pass
