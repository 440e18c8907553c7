"""Both protocols under disorder: any client, any application, any order; seeded.

What must hold: nothing is raised, every exchange comes to its end once the client has gone, and
what is kept for it is bounded. A failure shows its seed.
"""

from collections.abc import Callable
from random import Random

import pytest
from fake_host import FakeHost
from hpack import Encoder
from http2_frames import MAGIC, head
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from crewgate import limits
from crewgate.errors import PeerError
from crewgate.server.exchange import Exchange
from crewgate.server.http1 import HTTP1
from crewgate.server.http2 import HTTP2

STEPS = 400


class Watching:
    """Hears of its exchange; `ended` tells how often."""

    def __init__(self) -> None:
        self.lost_count = 0

    def body_arrived(self) -> None:
        pass

    def drained(self) -> None:
        pass

    def lost(self) -> None:
        self.lost_count += 1


def _act(random: Random, exchange: Exchange) -> None:
    """Do one thing that an application may do at any time."""
    usual: list[Callable[[], object]] = [
        lambda: exchange.respond(random.choice([200, 204, 401]), [(b"a", b"b")], b"x" * 100),
        lambda: exchange.start(200, []),
        lambda: exchange.start(304, [], ends=True),
        lambda: exchange.push(bytes(random.choice([0, 1, 50, 70_000]))),
        lambda: exchange.finish(b"end", random.choice([(), [(b"x-t", b"1")]])),
        lambda: exchange.inform(random.choice([100, 101, 103]), [(b"link", b"x")]),
        exchange.take,
        exchange.want_body,
    ]
    rare: list[Callable[[], object]] = [
        lambda: exchange.reset(8),
        lambda: exchange.distrust(hold=random.random() < 0.5),
        lambda: exchange.start(200, [(b"content-length", b"50")]),
    ]
    try:
        random.choice(rare if random.random() < 0.01 else usual)()
    except PeerError:
        assert exchange.done


class Frames:
    """Frames of a client that mostly keeps to the rules."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._encoder = Encoder()
        self._next = 1
        self._open: list[int] = []  # whose request has not ended

    def __call__(self) -> bytes:
        random = self._random
        if random.random() < 0.4 or self._next == 1:
            return self._request()
        if random.random() < 0.4 and self._open:
            return self._data()
        known = random.randrange(1, self._next, 2)
        frames: list[Callable[[], bytes]] = [
            lambda: RstStreamFrame(known, error_code=random.randrange(14)).serialize(),
            lambda: WindowUpdateFrame(
                random.choice([0, known]), window_increment=random.choice([1, 65_535])
            ).serialize(),
            lambda: SettingsFrame(0, settings={4: random.choice([0, 10, 65_535])}).serialize(),
            lambda: PingFrame(0, opaque_data=b"12345678").serialize(),
            lambda: PriorityFrame(known, depends_on=0, stream_weight=1).serialize(),
            lambda: ExtensionFrame(0xEE, known).serialize(),
            lambda: GoAwayFrame(0).serialize(),
            lambda: random.randbytes(20),
        ]
        weights = [3, 6, 3, 2, 2, 2, 0.02, 0.02]
        return random.choices(frames, weights)[0]()

    def _data(self) -> bytes:
        random = self._random
        stream = random.choice(self._open)
        flags = random.choices([(), ("END_STREAM",)], [3, 1])[0]
        if flags:
            self._open.remove(stream)
            if random.random() < 0.3:
                return head(stream, [(b"x-t", b"1")], *flags, encoder=self._encoder)
        return DataFrame(stream, bytes(random.choice([1, 5, 9000])), flags=flags).serialize()

    def _request(self) -> bytes:
        random = self._random
        stream, self._next = self._next, self._next + 2
        fields = [
            (b":method", random.choice([b"GET", b"POST", b"HEAD", b"OPTIONS", b"CONNECT"])),
            (b":scheme", b"https"),
            (b":path", random.choices([b"/", b"/a?b", b"*", b""], [9, 9, 1, 1])[0]),
            (b":authority", b"a"),
            *random.choice([[], [], [(b"content-length", b"5")], [(b"expect", b"100-continue")]]),
            *random.choices([[], [(b"connection", b"x")], [(b"x", b"y" * 3000)]], [9, 1, 1])[0],
        ]
        if random.random() < 0.5:
            return head(stream, fields, "END_STREAM", encoder=self._encoder)
        self._open.append(stream)
        block = self._encoder.encode(fields)
        first = HeadersFrame(stream, block[:5]).serialize()
        return first + ContinuationFrame(stream, block[5:], flags=["END_HEADERS"]).serialize()


def _line(random: Random) -> bytes:
    """A request of HTTP/1.1, seldom a bad one."""
    get, host = b"GET /%d HTTP/1.1\r\n" % random.randrange(9), b"Host: a\r\n"
    post = get.replace(b"GET", b"POST") + host
    chunked = post + b"Transfer-Encoding: chunked\r\n\r\n"
    extension = b"e" * random.randrange(300)
    pieces = [
        get + host + b"\r\n",
        get.replace(b"GET", b"HEAD") + host + b"\r\n",
        post + b"Content-Length: 5\r\n\r\n12345",
        post + b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n123456789",
        post + b"Content-Length: 90000\r\n\r\n" + bytes(90_000),
        chunked + b"3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n",
        chunked + b"1;" + extension + b"\r\nx\r\n0\r\n\r\n",
        b"\r\n",
        get + host + b"Connection: close\r\n\r\n",
        get.replace(b"1.1", b"1.0") + host + b"\r\n",
        random.randbytes(5),
    ]
    return random.choices(pieces, [9, 5, 9, 3, 3, 9, 3, 2, 0.1, 0.1, 0.05])[0]


def _send(protocol: HTTP1 | HTTP2) -> None:
    """Take what there is, as a connection whose socket has room does."""
    while protocol.bytes_to_send() or protocol.sent_all():
        pass


def _live(
    random: Random, protocol: HTTP1 | HTTP2, host: FakeHost, more: Callable[[], bytes]
) -> None:
    """A connection's life in any order, to its end."""
    watchers: list[Watching] = []

    def take(exchange: Exchange) -> None:
        exchange.watcher = watcher = Watching()
        watchers.append(watcher)
        if random.random() < 0.5:
            _act(random, exchange)

    host.answer = take
    wire = b""
    for _ in range(STEPS):
        wire += more() if len(wire) < limits.receive_bytes else b""
        size = random.choice([1, 10, 1000, 16_384])
        if not protocol.paused:
            protocol.receive(wire[:size])
            wire = wire[size:]
        for exchange in random.sample(host.exchanges, min(3, len(host.exchanges))):
            _act(random, exchange)
        if random.random() < 0.7:
            _send(protocol)
        if random.random() < 0.1:
            host.clock += random.choices([0, 1, 40], [50, 50, 1])[0]
            protocol.sweep(host.clock)
        if random.random() < 0.001:
            protocol.drain(urgent=random.random() < 0.5)
    protocol.lose()
    _send(protocol)
    assert all(watcher.lost_count <= 1 for watcher in watchers)
    for exchange in host.exchanges:
        assert exchange.done
        assert exchange.buffered <= limits.buffer_bytes_max + limits.receive_bytes
        _act(random, exchange)


@pytest.mark.parametrize("seed", range(60))
def test_http2_in_disorder(seed: int) -> None:
    """Frames of any kind on any stream, cut anywhere."""
    random = Random(seed)
    host = FakeHost()
    protocol = HTTP2(host)
    protocol.receive(MAGIC + SettingsFrame(0).serialize())
    _live(random, protocol, host, Frames(random))


@pytest.mark.parametrize("seed", range(60))
def test_http1_in_disorder(seed: int) -> None:
    """Requests of any kind in one pipeline, cut anywhere."""
    random = Random(seed)
    host = FakeHost()
    protocol = HTTP1(host)
    _live(random, protocol, host, lambda: _line(random))
