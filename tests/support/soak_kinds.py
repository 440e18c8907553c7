"""What the callers of a soak do, one function a kind, and what each may come to see.

A kind tells what it saw in a word or two (`Seen`); whether that was right is judged elsewhere.
"""

import json
import zlib
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

import trio
from soak_answers import PATTERN, page
from soak_http import Answer, Ask, Field, TornError
from soak_population import Branch, Population

PIECE = 65_536
BODY = PATTERN * 80  # 5 MiB
SILENT_SECONDS = 30.0
PROBLEM = b"application/problem+json"


class Seen(NamedTuple):
    """What came of one call: a word, and if the tool told them, the request's id and its branch."""

    outcome: str
    request: str = ""
    branch: str = ""


class Caller(Protocol):
    """What a kind is given: somebody to be, a connection, and chance."""

    population: Population
    branch: Branch

    @property
    def over(self) -> bool:
        """Whether the load is to end."""

    def below(self, bound: int) -> int:
        """A random number."""

    def note(self, found: Seen) -> None:
        """Report a call that is not the last of this kind."""

    async def ask(
        self,
        method: bytes,
        path: bytes,
        *,
        token: str | None = None,
        length: int | None = 0,
        fields: tuple[Field, ...] = (),
    ) -> Ask:
        """Send a head; the branch's token unless another is given, none for an empty one."""


Kind = Callable[[Caller], Awaitable[Seen]]


def seen(answer: Answer) -> Seen:
    """What an answer says: the tool's own names its request, the gateway's is a problem."""
    own = answer.fields.get(b"x-seen-request", b"").decode()
    if own:
        branch = answer.fields.get(b"x-seen-branch", b"").decode()
        word = "200" if answer.status == 200 else f"{answer.status} of the tool"
        return Seen(word, own, branch)
    if answer.fields.get(b"content-type") == PROBLEM:
        request: str = json.loads(answer.body)["request_id"]
        return Seen(f"{answer.status} {_slug(answer.body)}", request)
    return Seen(f"{answer.status} of nobody")


def _slug(document: bytes) -> str:
    """What a problem is called (RFC 9457)."""
    kind: str = json.loads(document)["type"]
    return kind.rpartition("/")[2]


async def call(caller: Caller, path: bytes, body: bytes = b'{"q": 1}') -> Answer:
    """POST a small body, and read the answer."""
    ask = await caller.ask(b"POST", path, length=len(body))
    await ask.send(body)
    await ask.end()
    return await ask.answer()


async def get(caller: Caller, path: bytes) -> Ask:
    """Begin a GET."""
    ask = await caller.ask(b"GET", path)
    await ask.end()
    return ask


def plain(path: bytes) -> Kind:
    """Small calls of one tool."""

    async def kind(caller: Caller) -> Seen:
        return seen(await call(caller, path, b"x" * caller.below(2000)))

    return kind


def paged(path: bytes, most: int) -> Kind:
    """Downloads, whose every byte is looked at."""

    async def kind(caller: Caller) -> Seen:
        count = caller.below(most)
        answer = await (await get(caller, path + b"/%d" % count)).answer()
        found = seen(answer)
        if found.outcome == "200" and answer.body != page(count):
            return Seen("200 with another body", found.request)
        return found

    return kind


def uploaded(path: bytes, *, told: bool, most: int = len(BODY)) -> Kind:
    """Uploads of some MiB, `told` with a Content-Length; the tool says what came."""

    async def kind(caller: Caller) -> Seen:
        body = memoryview(BODY)[: caller.below(most)]
        ask = await caller.ask(b"PUT", path, length=len(body) if told else None)
        for at in range(0, len(body), PIECE):
            await ask.send(bytes(body[at : at + PIECE]))
        await ask.end()
        return _checked(await ask.answer(), zlib.crc32(body))

    return kind


def trickled(path: bytes) -> Kind:
    """Uploads piece by piece, with pauses."""

    async def kind(caller: Caller) -> Seen:
        pieces = 10 + caller.below(10)
        ask = await caller.ask(b"PUT", path, length=pieces * 1000)
        for at in range(pieces):
            await ask.send(BODY[at * 1000 : (at + 1) * 1000])
            await trio.sleep(0.1)
        await ask.end()
        return _checked(await ask.answer(), zlib.crc32(BODY[: pieces * 1000]))

    return kind


def sipped(path: bytes) -> Kind:
    """Downloads by a slow reader, larger than what stands between it and the tool's server."""

    async def kind(caller: Caller) -> Seen:
        count = 400_000 + caller.below(600_000)
        ask = await get(caller, path + b"/%d" % count)
        status, fields = await ask.head()
        body = b""
        while piece := await ask.read():
            body += piece
            await trio.sleep(0.03)
        found = seen(Answer(status, fields, body))
        if found.outcome == "200" and body != page(count):
            return Seen("200 with another body", found.request)
        return found

    return kind


def streamed(path: bytes, count: int, pause: float) -> Kind:
    """Streams of numbered events, all of which must come, in order."""

    async def kind(caller: Caller) -> Seen:
        ask = await get(caller, path + b"?count=%d&pause=%.3f" % (count, pause))
        status, fields = await ask.head()
        if status != 200:
            return seen(Answer(status, fields, await ask.rest()))
        _, request, branch = seen(Answer(status, fields, b""))
        text = b""
        try:
            while piece := await _soon(ask):
                text += piece
                if caller.over and count > 1000:
                    await ask.abandon()
                    return Seen("left", request, branch)
        except TornError:
            return Seen("torn", request, branch)
        return Seen(_told(text, count), request, branch)

    return kind


async def _soon(ask: Ask) -> bytes:
    """Wait for the next piece of a stream, which may last, but not fall silent."""
    with trio.move_on_after(SILENT_SECONDS):
        return await ask.read()
    await ask.abandon()
    raise TornError("the stream fell silent")


def _told(text: bytes, count: int) -> str:
    """How a stream of events ended."""
    *numbers, last, rest = text.split(b"\n\n")
    if rest or numbers != [b"data: %d" % number for number in range(len(numbers))]:
        return "200 with other events"
    if last.startswith(b"event: error\ndata: "):
        return "cut " + _slug(last[19:])
    whole = last == b"event: end\ndata: -" and len(numbers) == count
    return "200" if whole else "200 with a part of the events"


def _checked(answer: Answer, checksum: int) -> Seen:
    found = seen(answer)
    if found.outcome == "200" and json.loads(answer.body)["crc"] != checksum:
        return Seen("200 about another body", found.request)
    return found


# Hanging up.


async def left_waiting(caller: Caller) -> Seen:
    """Hang up before there is an answer."""
    ask = await caller.ask(b"POST", b"/moody/mood/slow")
    await ask.end()
    await trio.sleep(caller.below(100) / 1000)
    await ask.abandon()
    return Seen("left")


async def left_reading(caller: Caller) -> Seen:
    """Hang up in mid-answer."""
    ask = await get(caller, b"/pages/3000000")
    status, fields = await ask.head()
    if status != 200:
        return seen(Answer(status, fields, await ask.rest()))
    for _ in range(caller.below(4)):
        await ask.read()
    await ask.abandon()
    return Seen("left", fields[b"x-seen-request"].decode())


async def left_sending(caller: Caller) -> Seen:
    """Hang up in mid-upload."""
    told = bool(caller.below(2))
    ask = await caller.ask(b"PUT", b"/files/1", length=len(BODY) if told else None)
    for at in range(caller.below(20)):
        await ask.send(BODY[at * PIECE : (at + 1) * PIECE])
    await ask.abandon()
    return Seen("left")


# Tools that break, in every way of `soak_upstream`.

WHOLE = {"200"}
FAILED = {"502 upstream-failed"}
SHUT = {"503 upstream-unavailable"}  # after a few failures nobody is sent to a server for a while
MOODS: dict[str, set[str]] = {
    "slow": WHOLE,
    "trickle": WHOLE,
    "hang": FAILED,
    "garbage": FAILED,
    "cut": {"torn"},
    "cut_chunks": {"torn"},
    "bad_chunks": {"torn", *FAILED},
    "reset": {"torn", *FAILED},
    "huge": FAILED,
    "informed": WHOLE,
    "switch": FAILED,
    "old": WHOLE,
    "two_lengths": FAILED,
    "unavailable": {"503 of the tool"},
}
# After these a kept connection is not what it seems: the next call on it may fail, or be answered
# by nobody. They have a server of their own.
LEAVING = {mood: {*WHOLE, *FAILED, "200 of nobody"} for mood in ("leave", "extra", "early")}


def mood(name: str, path: bytes = b"/moody/mood/") -> Kind:
    """A call that the tool answers in one of its moods."""

    async def kind(caller: Caller) -> Seen:
        return seen(await call(caller, path + name.encode()))

    return kind


async def uploaded_blindly(caller: Caller) -> Seen:
    """An upload to a tool that does not read."""
    body = BODY[: 1 + caller.below(2**20)]
    ask = await caller.ask(b"PUT", b"/leaving/mood/early", length=len(body))
    for at in range(0, len(body), PIECE):
        await ask.send(body[at : at + PIECE])
    await ask.end()
    return seen(await ask.answer())
