"""One request through two gateways, of which one may carry it straight: what each side sees."""

import re
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Protocol
from unittest.mock import patch

import trio
from gated_gateway import GatedGateway, gated_gateway
from hpack import Decoder
from http2_frames import ACKNOWLEDGED, Fields, Frames, head
from hyperframe.frame import (
    DataFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    WindowUpdateFrame,
)
from msgspec import structs
from scripted_http2 import Piece, named

from crewgate import limits
from crewgate.config import Config

_UUID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TRACE = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_FRAMING = re.compile(rb"\r\n(?:content-length|transfer-encoding): [^\r]*")
# What only one way counts, or what measures a time.
_UNLIKE = re.compile(r"#|crewgate_straight_|\w+_(?:bucket|sum)[{ ]")
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


class Seen(NamedTuple):
    """What one request caused, without what differs by chance: dates, ids, times and ports.

    `blocks` and `body` are the client's, `reset` the code that ended its stream.
    """

    blocks: list[Fields]
    body: bytes
    reset: int | None
    requests: list[bytes]
    records: list[dict[str, object]]

    def agrees(self, ordinary: "Seen") -> bool:
        """Whether a straight call caused what an ordinary one did, apart from its framing.

        Of an answer that breaks off, a client may get less if compiled code has waited for the
        rest.
        """
        straight = self
        if self.reset is not None:
            is_part = self.blocks == ordinary.blocks[: len(self.blocks)]
            if not (is_part and ordinary.body.startswith(self.body)):
                return False
            straight = self._replace(blocks=ordinary.blocks, body=ordinary.body)
        return straight._unframed() == ordinary._unframed()

    def _unframed(self) -> "Seen":
        return self._replace(requests=[*map(_unframed, self.requests)])


class Framing(Protocol):
    """How a request is framed, and cut as `Body` says.

    If it `resets`, the client closes the stream at once.
    """

    @property
    def cuts(self) -> Sequence[int]: ...

    @property
    def together(self) -> bool: ...

    @property
    def resets(self) -> bool: ...

    def wire(self, number: int, fields: Fields) -> bytes:
        """All frames of a request with these fields, on a stream."""


class Body(NamedTuple):
    """The body of a request: a DATA frame for each piece, and `trailers`.

    The bytes of the request are cut at `cuts`, which count from the end if they are negative. What
    is before a cut is in a TLS record of its own. The gateway reads it before the rest arrives,
    unless the records arrive `together`.
    """

    pieces: Sequence[bytes] = ()
    trailers: Sequence[tuple[bytes, bytes]] = ()
    cuts: Sequence[int] = ()
    together: bool = False
    resets: bool = False

    def wire(self, number: int, fields: Fields) -> bytes:
        """The frames of the head and the body."""
        return head(number, fields) + self._frames(number)

    def _frames(self, number: int) -> bytes:
        frames = [DataFrame(number, piece) for piece in self.pieces or (b"",)]
        if not self.trailers:
            frames[-1].flags.add("END_STREAM")
        wire = b"".join([frame.serialize() for frame in frames])
        return wire + (head(number, list(self.trailers), "END_STREAM") if self.trailers else b"")


class Way:
    """One gateway, with one HTTP/2 connection to it."""

    def __init__(self, site: GatedGateway) -> None:
        self.site = site
        self.token = site.token(["summary.*", "search.*"]).encode()
        self._stream: trio.SSLStream[trio.SocketStream] | None = None
        self._number = 1

    @property
    def counts(self) -> tuple[int, int]:
        """How many calls were straight, and how many stopped being so."""
        straight = self.site.world.gateway.straight
        return straight.done, straight.given_up

    def metrics(self) -> list[str]:
        """What the gateway counts: the samples of its metrics, and the counts of its listener."""
        world = self.site.world
        text = world.exposition.read()[0].decode()
        counters = world.edge.listener.counters.counts
        samples = [line for line in text.splitlines() if not _UNLIKE.match(line)]
        return samples + [f"{name} {count}" for name, count in sorted(counters.items())]

    async def ask(
        self,
        fields: Fields,
        answer: Sequence[bytes] | Sequence[Piece] = (OK,),
        sent: Framing | None = None,
    ) -> Seen:
        """Send a request, and return what it causes."""
        site, sink = self.site, self.site.world.sink
        site.answer = answer
        asked, recorded = len(site.asked), len(sink.records)
        blocks, body, reset = await self._exchange(fields, sent)
        await site.world.settled()
        site.world.gateway._services.settlements.flush()
        requests = [_masked(each, site) for each in site.asked[asked:]]
        records = [_plain(each) for each in sink.records[recorded:]]
        return Seen(blocks, _UUID.sub(b"UUID", body), reset, requests, records)

    async def _widen(self, number: int, size: int) -> None:
        """Let the gateway send as much again."""
        if size and self._stream is not None:
            frames = [WindowUpdateFrame(at, window_increment=size) for at in (0, number)]
            await self._stream.send_all(b"".join([frame.serialize() for frame in frames]))

    async def close(self) -> None:
        """Close the connection."""
        if self._stream is not None:
            await trio.aclose_forcefully(self._stream)
            self._stream = None

    async def ask_together(self, fields: Fields, count: int) -> list[Fields]:
        """Send so many requests at once; return the heads of their answers, by stream."""
        numbers = await self._streams(count)
        wire = b"".join([head(number, fields, "END_STREAM") for number in numbers])
        await self._stream.send_all(wire)  # type: ignore[union-attr]
        heads: dict[int, Fields] = {}
        ended: set[int] = set()
        while len(ended) < count and (frame := await self._frames.next()):
            if type(frame) is HeadersFrame:
                block = self._decoder.decode(frame.data, raw=True)
                heads[frame.stream_id] = [(bytes(n), bytes(v)) for n, v in block]
            if "END_STREAM" in frame.flags:
                ended.add(frame.stream_id)
        return [heads[number] for number in numbers]

    async def _send(self, number: int, fields: Fields, sent: Framing | None) -> None:
        assert self._stream is not None
        if sent is None:
            await self._stream.send_all(head(number, fields, "END_STREAM"))
            return
        wire = sent.wire(number, fields)
        cuts = {at % len(wire) for at in sent.cuts}
        self._cork(sent.together)
        with suppress(trio.BrokenResourceError):  # the gateway has closed the connection
            for begin, end in pairwise(sorted({0, *cuts, len(wire)})):
                await self._stream.send_all(wire[begin:end])
            if sent.resets:
                last = PingFrame(opaque_data=number.to_bytes(8))  # its answer comes last
                await self._stream.send_all(last.serialize())
        self._cork(False)

    def _cork(self, is_corked: bool) -> None:
        """Let the kernel keep what is sent until this ends, at most 0.2 s (tcp(7))."""
        assert self._stream is not None
        sock = self._stream.transport_stream.socket
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, is_corked)

    async def _streams(self, count: int) -> list[int]:
        """Return so many new streams, of a connection that is opened if there is none."""
        if self._stream is None:
            self._stream = await self.site.world.edge.connect("h2")
            self._frames, self._decoder = Frames(self._stream), Decoder()
            await self._stream.send_all(ACKNOWLEDGED)
            self._number = 1
        numbers = [self._number + 2 * at for at in range(count)]
        self._number += 2 * count
        return numbers

    async def _exchange(
        self, fields: Fields, sent: Framing | None
    ) -> tuple[list[Fields], bytes, int | None]:
        (number,) = await self._streams(1)
        await self._send(number, fields, sent)
        blocks: list[Fields] = []
        body = b""
        while frame := await self._frames.next():
            if type(frame) is PingFrame and frame.opaque_data == number.to_bytes(8):
                return blocks, body, None
            if frame.stream_id != number:
                if type(frame) is HeadersFrame:  # the decoder needs each block
                    self._decoder.decode(frame.data, raw=True)
                continue
            if type(frame) is RstStreamFrame:
                return blocks, body, frame.error_code
            if type(frame) is HeadersFrame:
                block = self._decoder.decode(frame.data, raw=True)
                blocks.append([named(each) for each in block if each[0] != b"date"])
            elif type(frame) is DataFrame:
                body += frame.data
                await self._widen(number, len(frame.data))
            if "END_STREAM" in frame.flags:
                return blocks, body, None
        await self.close()
        return blocks, body, -1


def _masked(request: bytes, site: GatedGateway) -> bytes:
    request = _TRACE.sub(b"TRACE", re.sub(rb"x-crewgate-request: [^\r]*", b"ID", request))
    return re.sub(rb"\r\n(host|:authority): [^\r]*", rb"\r\n\1: HOST", request)


def _unframed(request: bytes) -> bytes:
    """Return a request without its framing.

    The gateway declares a length if the body has ended when the call begins. That depends on when
    the bytes arrive, and so do the sizes of chunks.
    """
    head, end, body = request.partition(b"\r\n\r\n")
    if b"\r\ntransfer-encoding: chunked" in head:
        joined = b""
        size, _, body = body.partition(b"\r\n")
        while length := int(size, 16):
            joined += body[:length]
            size, _, body = body[length + 2 :].partition(b"\r\n")
        body = joined + body.removesuffix(b"\r\n")
    return _FRAMING.sub(b"", head) + end + body


def _plain(record: object) -> dict[str, object]:
    found = structs.asdict(record)  # type: ignore[arg-type]
    by_chance = {"time", "request", "duration_us", "trace"}
    return {name: value for name, value in found.items() if name not in by_chance}


def _set_up(configure: Callable[[Config], Config], straight: bool, config: Config) -> Config:
    config = configure(config)
    return structs.replace(config, limits=structs.replace(config.limits, straight=straight))


@asynccontextmanager
async def two_ways(
    folder: Path,
    configure: Callable[[Config], Config] = lambda config: config,
    *,
    http2_server: bool = False,
) -> AsyncIterator[tuple[Way, Way]]:
    """Run a gateway with straight calls, and one without; each has carried one call.

    With `http2_server`, the tool's server speaks HTTP/2. On a busy machine too, a gateway acts on
    all frames of a read at once.
    """
    ways = []
    async with AsyncExitStack() as stack:
        stack.enter_context(patch.object(limits, "turn_frames_seconds_max", 60.0))
        for straight in (True, False):
            place = folder / str(straight)
            place.mkdir()
            made = gated_gateway(
                place,
                partial(_set_up, configure, straight),
                ("*",),
                straight=straight,
                http2_server=http2_server,
            )
            site = await stack.enter_async_context(made)
            site.stays = True
            ways.append(Way(site))
            site.draw(ways[-1].token)
        yield ways[0], ways[1]
        for way in ways:
            await way.close()
