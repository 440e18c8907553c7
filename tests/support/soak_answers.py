"""How a tool's server of the soak may answer: as one should, and in the ways that real ones break.

A request's path says which: `…/call`, `…/files/N` (tells what came), `…/pages/BYTES`,
`…/events?count=N&pause=SECONDS`, `…/mood/MOOD`. Every whole answer names the request that it saw.
"""

import random
from collections.abc import Awaitable, Callable

import trio
from soak_request import Request
from soak_upstream1 import HTTP1Request

PATTERN = random.Random(1).randbytes(65_536)


def page(count: int) -> bytes:
    """What a page of so many bytes holds."""
    return (PATTERN * (count // len(PATTERN) + 1))[:count]


def _seen(request: HTTP1Request) -> bytes:
    return request.seen.encode()


async def behave(request: Request) -> None:
    """Answer as the path says."""
    *_, before, last = ["", *request.words]
    if last == "events":
        await request.read_body()
        await events(request)
    elif before == "pages":
        await request.read_body()
        await request.answer(page(int(last)), b"application/octet-stream")
    elif before != "mood":
        await request.read_body()
        await request.tell()
    elif last == "reset":
        await reset(request)
    else:
        assert isinstance(request, HTTP1Request)
        await MOODS[last](request)


async def events(request: Request) -> None:
    """Numbered events of a stream, and a last one."""
    await request.start(200, [(b"content-type", b"text/event-stream")])
    for number in range(int(request.query["count"])):
        await request.piece(b"data: %d\n\n" % number)
        await trio.sleep(float(request.query["pause"]))
    await request.piece(b"event: end\ndata: -\n\n", last=True)


async def reset(request: Request) -> None:
    """An answer that is reset in the middle."""
    await request.read_body()
    await request.start(200, [])
    await request.piece(PATTERN[:3000])
    await request.reset()


async def slow(request: HTTP1Request) -> None:
    await request.read_body()
    await trio.sleep(1.0)
    await request.tell()


async def trickle(request: HTTP1Request) -> None:
    """Head and body byte by byte, almost."""
    await request.read_body()
    text = b"HTTP/1.1 200 OK\r\nx-seen-request: %b\r\ncontent-length: 40\r\n" % _seen(request)
    text += b"connection: close\r\n\r\n"
    for at in range(0, len(text), 8):
        await request.stream.send_all(text[at : at + 8])
        await trio.sleep(0.01)
    for _ in range(10):
        await request.stream.send_all(b"0123")
        await trio.sleep(0.02)


async def hang(request: HTTP1Request) -> None:
    """Nothing for a while, and then the end without an answer."""
    await request.read_body()
    await trio.sleep(1.5)


async def garbage(request: HTTP1Request) -> None:
    await request.read_body()
    await request.stream.send_all(b"\x00\x15\x03" + PATTERN[:2048])


async def cut(request: HTTP1Request) -> None:
    """A Content-Length that is not kept."""
    await request.read_body()
    text = b"HTTP/1.1 200 OK\r\nx-seen-request: %b\r\ncontent-length: 50000\r\n\r\n" % _seen(
        request
    )
    await request.stream.send_all(text + PATTERN[:10_000])


async def cut_chunks(request: HTTP1Request) -> None:
    """Chunks without their end."""
    await request.read_body()
    await request.start(200, [])
    await request.piece(PATTERN[:3000])


async def bad_chunks(request: HTTP1Request) -> None:
    """A chunk whose size is no number."""
    await cut_chunks(request)
    await request.stream.send_all(b"zz\r\nhello\r\n")


async def extra(request: HTTP1Request) -> None:
    """An answer, and bytes that nobody asked for."""
    await request.read_body()
    await request.tell()
    await request.stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


async def leave(request: HTTP1Request) -> None:
    """An answer that promises to go on, and then the end of the connection."""
    await request.read_body()
    await request.tell()
    await request.stream.aclose()


async def early(request: HTTP1Request) -> None:
    """An answer before the body was read, and the end of the connection."""
    await request.tell()


async def huge(request: HTTP1Request) -> None:
    """A head beyond every bound."""
    await request.read_body()
    await request.stream.send_all(b"HTTP/1.1 200 OK\r\nx-long: " + b"a" * 200_000)


async def informed(request: HTTP1Request) -> None:
    """Informational answers before the one that counts."""
    await request.read_body()
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n"
    await request.stream.send_all(hints * 2)
    await request.tell()


async def switch(request: HTTP1Request) -> None:
    """Protocols switched without having been asked."""
    await request.read_body()
    head = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"
    await request.stream.send_all(head)


async def old(request: HTTP1Request) -> None:
    """HTTP/1.0: the end of the connection ends the body."""
    await request.read_body()
    head = b"HTTP/1.0 200 OK\r\nx-seen-request: %b\r\n\r\n" % _seen(request)
    await request.stream.send_all(head + PATTERN[:5000])


async def two_lengths(request: HTTP1Request) -> None:
    await request.read_body()
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!"
    await request.stream.send_all(head)


async def unavailable(request: HTTP1Request) -> None:
    """An error of the tool's own."""
    await request.read_body()
    await request.start(503, [(b"retry-after", b"1"), (b"content-length", b"2")])
    await request.piece(b"no", last=True)


MOODS: dict[str, Callable[[HTTP1Request], Awaitable[None]]] = {
    mood.__name__: mood
    for mood in (
        slow,
        trickle,
        hang,
        garbage,
        cut,
        cut_chunks,
        bad_chunks,
        extra,
        leave,
        early,
        huge,
        informed,
        switch,
        old,
        two_lengths,
        unavailable,
    )
}
