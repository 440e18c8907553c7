"""`python -m bench.hop.client`: load where h2load cannot make it; plan on stdin, tally on stdout.

A token per branch, bodies in pieces without a length, floods that go on over closed connections.
One thread, TLS, HTTP/2, a bounded count or time. It waits for what comes back and judges nothing.
"""

import json
import selectors
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import cycle

from bench.hop import frames
from bench.hop.conversation import Conversation, Tally

RECEIVE_BYTES = 65_536
SECONDS_MAX = 250.0  # only a hang gets there
LOOK_SECONDS = 0.1  # whether the time is over, while no answer comes


@dataclass(frozen=True)
class Plan:
    """What to do. Ends after `requests`, or after `seconds` if that is not 0.

    A request has a body if `pieces` is not 0. With `again`, a connection that the peer closes is
    followed by another; otherwise its requests are lost.
    """

    port: int
    path: str
    tokens: tuple[str, ...]  # each request shows the next one; "" is none
    connections: int
    streams: int
    requests: int = 0
    seconds: float = 0.0
    method: str = "GET"
    pieces: int = 0
    piece_bytes: int = 4096
    again: bool = False


class Asking:
    """Says what is to be asked next, and when no more."""

    def __init__(self, plan: Plan, until: float) -> None:
        authority = f"127.0.0.1:{plan.port}"
        heads = [frames.head(plan.method, authority, plan.path, token) for token in plan.tokens]
        self.heads: Iterator[bytes] = cycle(heads)
        self.left = plan.requests
        self.until = until

    def __call__(self) -> bytes | None:
        """The next field block."""
        if self.over:
            return None
        self.left -= 1
        return next(self.heads)

    @property
    def over(self) -> bool:
        """Whether the time is up, or the count reached."""
        return time.perf_counter() >= self.until if self.until else self.left <= 0


def context(protocol: str = "h2") -> ssl.SSLContext:
    """Trusts anybody: what is measured does not depend on it."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.set_alpn_protocols([protocol])
    return made


def connect(port: int, tls: ssl.SSLContext) -> ssl.SSLSocket:
    """A connection after its handshake, not blocking from then on."""
    raw = socket.create_connection(("127.0.0.1", port), 10)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        sock = tls.wrap_socket(raw)
    except OSError:
        raw.close()
        raise
    sock.settimeout(0)
    return sock


class Client:
    """All connections of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tally = Tally()
        self.connected = 0
        self.tls = context()
        self.selector = selectors.DefaultSelector()
        self.began = time.perf_counter()
        self.ask = Asking(plan, 0.0)
        self.pairs: dict[ssl.SSLSocket, Conversation] = {}

    def open(self) -> None:
        """One more connection."""
        plan = self.plan
        sock = connect(plan.port, self.tls)
        self.connected += 1
        pieces = (plan.pieces, plan.piece_bytes)
        self.pairs[sock] = Conversation(self.ask, self.tally, plan.streams, pieces)
        self.selector.register(sock, selectors.EVENT_READ)

    def close(self, sock: ssl.SSLSocket) -> None:
        """It has nothing more to do, or the peer has closed it."""
        conversation = self.pairs.pop(sock)
        conversation.end()
        self.selector.unregister(sock)
        sock.close()
        if self.plan.again and not self.ask.over:
            with suppress(OSError):  # the others go on
                self.open()

    def receive(self, sock: ssl.SSLSocket) -> bool:
        """All that is there; False if the peer has closed the connection."""
        conversation = self.pairs[sock]
        try:
            while data := sock.recv(RECEIVE_BYTES):
                conversation.receive(data, time.perf_counter())
        except ssl.SSLWantReadError:
            return True
        except OSError:
            return False
        return False

    def send(self, sock: ssl.SSLSocket) -> None:
        """What there is to send; the rest when there is room."""
        conversation = self.pairs[sock]
        out = conversation.out
        events = selectors.EVENT_READ
        try:
            while out:
                del out[: sock.send(out[:RECEIVE_BYTES])]
        except ssl.SSLWantWriteError:
            events |= selectors.EVENT_WRITE
        except OSError:
            self.close(sock)
            return
        self.selector.modify(sock, events)

    def turn(self) -> None:
        """Ask on every connection, then take whatever has come."""
        for sock, conversation in list(self.pairs.items()):
            conversation.fill(time.perf_counter())
            if conversation.out:
                self.send(sock)
            elif conversation.over:
                self.close(sock)
        waiting = any(conversation.owing for conversation in self.pairs.values())
        ready = self.selector.select(0.0 if waiting else LOOK_SECONDS)
        heard = [key.fileobj for key, _ in ready if isinstance(key.fileobj, ssl.SSLSocket)]
        for sock in heard:
            if not self.receive(sock):
                self.close(sock)

    def run(self) -> dict[str, object]:
        """All of the plan; what came of it."""
        for _ in range(self.plan.connections):
            self.open()
        self.began = time.perf_counter()
        if self.plan.seconds:
            self.ask.until = self.began + self.plan.seconds
        while self.pairs:
            self.turn()
            if time.perf_counter() - self.began > SECONDS_MAX:
                raise SystemExit("client: no end of it")
        seconds = time.perf_counter() - self.began
        return {**asdict(self.tally), "seconds": seconds, "connected": self.connected}


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        words = json.load(sys.stdin)
        print(json.dumps(Client(Plan(**{**words, "tokens": tuple(words["tokens"])})).run()))
