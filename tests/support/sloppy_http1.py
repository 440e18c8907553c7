"""Tools over HTTP/1.1 that send more than they have announced: 56 ways, by number.

Each way is a head and what comes behind it. Asked for anything else, a server echoes the request,
so a client sees whether the answer is its own.
"""

import socket
from typing import NamedTuple

import trio
from scripted_server import read_request

FORGED = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"
HEADS = {
    "204": b"204 No Content\r\n\r\n",
    "204 of some length": b"204 No Content\r\nContent-Length: %d\r\n\r\n",
    "304": b"304 Not Modified\r\n\r\n",
    "304 of some length": b"304 Not Modified\r\nContent-Length: %d\r\n\r\n",
    "HEAD": b"200 OK\r\n\r\n",
    "HEAD of no length": b"200 OK\r\nContent-Length: 0\r\n\r\n",
    "no length": b"200 OK\r\nContent-Length: 0\r\n\r\n",
    "too short": b"200 OK\r\nContent-Length: 2\r\n\r\nok",
}
SURPLUS = {
    "text": b"surplus",
    "an answer": FORGED,
    "half an answer": FORGED[:-20],
    "two answers": FORGED * 2,
    "hints": b"HTTP/1.1 103 Early Hints\r\n\r\n",
    "a line's end": b"\r\n",
    "another 204": b"HTTP/1.1 204 No Content\r\n\r\n",
}
WHEN = (None, 0.0, 0.02)  # in one packet with the head, apart, seconds later


class Way(NamedTuple):
    """A head, and what follows it."""

    head: str
    surplus: str

    @property
    def method(self) -> str:
        """How it is asked for."""
        return "HEAD" if self.head.startswith("HEAD") else "GET"

    @property
    def is_wrong_about_its_length(self) -> bool:
        """Whether no gateway can tell what comes later from the next answer."""
        return self.head == "too short"


WAYS = [Way(head, surplus) for head in HEADS for surplus in SURPLUS]


async def serve(stream: trio.SocketStream, _: int) -> None:
    """Answer `/sloppy/WAY/WHEN`, an echo everything else, until the client closes."""
    stream.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)  # as servers leave it
    while request := await read_request(stream):
        target = request.split(b" ")[1]
        if not target.startswith(b"/sloppy/"):
            answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
            await stream.send_all(answer % (len(target), target))
            continue
        way, when = (int(part) for part in target.split(b"/")[2:4])
        head, surplus = HEADS[WAYS[way].head], SURPLUS[WAYS[way].surplus]
        head = b"HTTP/1.1 " + (head % len(surplus) if b"%d" in head else head)
        pause = WHEN[when]
        if pause is None:
            await stream.send_all(head + surplus)
        else:
            await stream.send_all(head)
            await trio.sleep(pause)
            await stream.send_all(surplus)
