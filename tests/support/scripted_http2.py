"""A tool's server over HTTP/2 that sends the frames a test gives it, and notes its requests."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Protocol

import trio
from hpack import Decoder, NeverIndexedHeaderTuple
from http2_frames import MAGIC, Frames, head
from hyperframe.frame import (
    DataFrame,
    Frame,
    HeadersFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

Piece = Callable[[int], bytes]  # makes the frames of an answer on a stream; it may be on others too
_FRAME_BYTES = 16_384
_HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"transfer-encoding",
    b"upgrade",
}


class Asked(Protocol):
    """What a test says and sees; see `gated_gateway.GatedGateway`."""

    answer: Iterable[bytes | Piece]
    asked: list[bytes]
    drops: int
    hold: trio.Event | None
    settings: dict[int, int]


async def talk(site: Asked, stream: trio.SocketStream) -> None:
    """Answer the requests of one connection, each in a task."""
    frames, decoder = Frames(stream), Decoder()
    if not await frames.skip(MAGIC):
        return
    talk = _Talk(site, stream)
    await talk.reply(SettingsFrame(0, settings=site.settings))
    requests: dict[int, list[bytes]] = {}
    async with trio.open_nursery() as nursery:
        while frame := await frames.next():
            number = frame.stream_id
            if type(frame) is SettingsFrame and "ACK" not in frame.flags:
                await talk.reply(SettingsFrame(0, flags=["ACK"]))
            elif type(frame) is HeadersFrame:
                requests[number] = [_text(decoder.decode(frame.data, raw=True))]
            elif type(frame) is DataFrame and number in requests:
                requests[number].append(frame.data)
                await talk.widen(number, len(frame.data))
            if "END_STREAM" in frame.flags and number in requests:
                site.asked.append(b"".join(requests.pop(number)))
                nursery.start_soon(talk.answer, number, nursery.cancel_scope)
        nursery.cancel_scope.cancel()
    await stream.aclose()


class _Talk:
    """What is sent on one connection."""

    def __init__(self, site: Asked, stream: trio.SocketStream) -> None:
        self._site, self._stream = site, stream
        self._turn = trio.Lock()

    async def send(self, wire: bytes) -> None:
        async with self._turn:
            await self._stream.send_all(wire)

    async def reply(self, *frames: Frame) -> None:
        """Send frames, unless the gateway has left; the next read then says so."""
        with suppress(trio.BrokenResourceError):
            await self.send(b"".join([frame.serialize() for frame in frames]))

    async def widen(self, number: int, size: int) -> None:
        """Let the gateway send as much again."""
        if size:
            await self.reply(*[WindowUpdateFrame(at, window_increment=size) for at in (0, number)])

    async def answer(self, number: int, connection: trio.CancelScope) -> None:
        """Send an answer, with a pause after each piece; leave instead, if the test wants that."""
        site = self._site
        with suppress(trio.ClosedResourceError):
            if site.drops:
                site.drops -= 1
                connection.cancel()
                return
            if site.hold is not None:
                await site.hold.wait()
            try:
                for piece in _pieces(site.answer):
                    await self.send(piece(number))
                    await trio.lowlevel.checkpoint()
            except trio.BrokenResourceError:
                connection.cancel()


def _pieces(answer: Iterable[bytes | Piece]) -> Iterable[Piece]:
    """The pieces; those of an answer of HTTP/1.1 are written as frames."""
    if isinstance(answer, Sequence) and all(isinstance(piece, bytes) for piece in answer):
        return frames_of(answer)  # type: ignore[arg-type]
    return answer  # type: ignore[return-value]


def named(field: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """A field that was decoded; "!" ends its name if no table may keep it."""
    mark = b"!" if isinstance(field, NeverIndexedHeaderTuple) else b""
    return bytes(field[0]) + mark, bytes(field[1])


def _text(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The fields of a request, one a line."""
    return b"".join([b"%b: %b\r\n" % named(field) for field in fields]) + b"\r\n"


def frames_of(answer: Sequence[bytes]) -> list[Piece]:
    """The frames of an answer of HTTP/1.1; in pieces, if it has a length and comes in pieces."""
    before, _, body = b"".join(answer).partition(b"\r\n\r\n")
    status, *lines = before.split(b"\r\n")
    if status.split()[1].startswith(b"1"):
        hint = [(b":status", status.split()[1])]
        return [lambda number: head(number, hint), *frames_of([body])]
    pairs = [line.split(b":", 1) for line in lines]
    fields = [(name.lower(), value.strip(b" \t")) for name, value in pairs]
    if (b"transfer-encoding", b"chunked") in fields:
        body = _dechunked(body)
    kept = [
        (b":status", status.split()[1]),
        *[field for field in fields if field[0] not in _HOP_BY_HOP],
    ]
    if not body:
        return [lambda number: head(number, kept, "END_STREAM")]
    bodies = [body[at : at + _FRAME_BYTES] for at in range(0, len(body), _FRAME_BYTES)]
    if len(answer) > 1 and b"content-length" in dict(kept):
        bodies = [bodies[0][:1], bodies[0][1:], *bodies[1:]]
        return [lambda number: head(number, kept), *[_data(each, bodies) for each in bodies]]
    return [
        lambda number: (
            head(number, kept) + b"".join([_data(each, bodies)(number) for each in bodies])
        )
    ]


def _data(body: bytes, bodies: list[bytes]) -> Piece:
    """A DATA frame; the last one of `bodies` ends the answer."""
    flags = ["END_STREAM"] if body is bodies[-1] else []
    return lambda number: DataFrame(number, body, flags=flags).serialize()


def _dechunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        whole, body = whole + body[:length], body[length + 2 :]
        if not length:
            break
    return whole
