"""Straight calls to a server that speaks HTTP/2: all see the same of them as of ordinary calls."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from gated_gateway import GatedGateway
from hpack import NeverIndexedHeaderTuple
from http2_frames import head
from hyperframe.frame import (
    DataFrame,
    GoAwayFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from malformed_http2 import CONNECTION, STREAM
from msgspec import structs
from scripted_http2 import Piece
from straight_cases import STRAIGHT
from two_ways import OK, Body, Seen, Way, two_ways

from crewgate.config import Config, ToolConfig

Fields = list[tuple[bytes, bytes]]
GET = (b"GET", b"/summary")
POST = (b"POST", b"/search")
STATUS = (b":status", b"200")
LENGTH = (b"content-length", b"4")
TE = (b"te", b"trailers")


def _configured(config: Config) -> Config:
    """One connection, so that calls share it; a tool that may be asked twice; one elsewhere."""
    upstream = structs.replace(config.upstreams[0], connections=1)
    tools = (*config.tools, ToolConfig("search.put", "PUT", "/notes", "tools", 10_000))
    return structs.replace(config, upstreams=(upstream,), tools=tools)


def _request(way: Way, line: tuple[bytes, bytes], *fields: tuple[bytes, bytes]) -> Fields:
    method, path = line
    return [
        (b":method", method),
        (b":scheme", b"https"),
        (b":path", path),
        (b":authority", b"gateway.example:8443"),
        (b"authorization", b"Bearer " + way.token),
        *fields,
    ]


async def _ask(
    way: Way,
    line: tuple[bytes, bytes] = GET,
    answer: Sequence[bytes] | Sequence[Piece] = (OK,),
    fields: Sequence[tuple[bytes, bytes]] = (),
    body: Body | None = None,
) -> tuple[Seen, bool]:
    """What a request causes, and whether compiled code has carried it alone."""
    done, _ = way.counts
    seen = await way.ask(_request(way, line, *fields), answer, body)
    return seen, way.counts[0] > done


async def _both(ways: tuple[Way, Way], name: str, **how: object) -> tuple[Seen, bool]:
    """What a request causes, which is the same both ways."""
    (found, is_straight), (expected, _) = [await _ask(way, **how) for way in ways]  # type: ignore[arg-type]
    assert found.agrees(expected), (name, found, expected)
    assert found.requests == expected.requests, name
    assert ways[1].counts == (0, 0)
    return found, is_straight


def _head(*fields: tuple[bytes, bytes], ends: bool = False) -> Piece:
    flags = ["END_STREAM"] if ends else []
    return lambda number: head(number, [STATUS, *fields], *flags)


def _data(body: bytes, *, ends: bool = False) -> Piece:
    flags = ["END_STREAM"] if ends else []
    return lambda number: DataFrame(number, body, flags=flags).serialize()


def _reset(code: int) -> Piece:
    return lambda number: RstStreamFrame(number, error_code=code).serialize()


def _with(*pieces: Piece) -> Piece:
    """These pieces in one write, so in one read."""
    return lambda number: b"".join([piece(number) for piece in pieces])


def _settings(**values: int) -> Piece:
    names = {"streams": SettingsFrame.MAX_CONCURRENT_STREAMS, "window": 4}
    settings = {names[name]: value for name, value in values.items()}
    return lambda _: SettingsFrame(0, settings=settings).serialize()


def _go_away(last: int | None = None, code: int = 0) -> Piece:
    return lambda number: GoAwayFrame(
        0, last_stream_id=number if last is None else last, error_code=code
    ).serialize()


def _hints(count: int) -> Piece:
    return lambda number: head(number, [(b":status", b"103"), (b"link", b"</a>")]) * count


WHOLE = _with(_head(LENGTH), _data(b"body", ends=True))
# Name: the pieces of the answer, and whether the call is straight.
ANSWERS: dict[str, tuple[Sequence[Piece], bool]] = {
    "whole": ((WHOLE,), True),
    "without a length, in one read": (
        (_with(_head(), _data(b"bo"), _data(b"dy"), _data(b"", ends=True)),),
        True,
    ),
    "its head alone": ((_head(ends=True),), True),
    "an empty body": ((_with(_head(), _data(b"", ends=True)),), True),
    "a length, in pieces": ((_head(LENGTH), _data(b"bo"), _data(b"dy", ends=True)), True),
    "the end of the stream by itself": (
        (_head(LENGTH), _data(b"body"), _data(b"", ends=True)),
        True,
    ),
    "a reset without an error behind the end": ((_with(WHOLE, _reset(0)),), True),
    "settings and pings around it": (
        (_with(_settings(streams=50), lambda _: PingFrame(0, b"12345678").serialize(), WHOLE),),
        True,
    ),
    "another's window": (
        (_with(lambda _: WindowUpdateFrame(0, window_increment=9).serialize(), WHOLE),),
        True,
    ),
    "a GOAWAY that names it, and the answer": ((_with(_go_away(), WHOLE),), True),
    "many fields": (
        (
            _with(
                _head(LENGTH, *[(b"x-%d" % at, b"v") for at in range(60)]),
                _data(b"body", ends=True),
            ),
        ),
        True,
    ),
    "too many fields for a straight call": (
        (
            _with(
                _head(LENGTH, *[(b"x-%d" % at, b"v") for at in range(80)]),
                _data(b"body", ends=True),
            ),
        ),
        False,
    ),
    "a large head": (
        (
            _with(
                _head(LENGTH, *[(b"x-%d" % at, b"v" * 900) for at in range(14)]),
                _data(b"body", ends=True),
            ),
        ),
        True,
    ),
    "trailers": (
        (_with(_head(), _data(b"body"), lambda n: head(n, [(b"x-sum", b"1")], "END_STREAM")),),
        False,
    ),
    "trailers later": (
        (_head(LENGTH), _data(b"body"), lambda n: head(n, [(b"x-sum", b"1")], "END_STREAM")),
        False,
    ),
    "a hint": ((_hints(1), WHOLE), False),
    "hints and the answer at once": ((_with(_hints(40), WHOLE),), False),
    "events": (
        (
            _with(_head((b"content-type", b"text/event-stream")), _data(b"data: 1\n\n")),
            _data(b"data: 2\n\n"),
            _data(b"", ends=True),
        ),
        False,
    ),
    "events with a length": (
        (
            _head((b"content-type", b"Text/Event-Stream;x"), (b"content-length", b"18")),
            _data(b"data: 1\n\n"),
            _data(b"data: 2\n\n", ends=True),
        ),
        False,
    ),
    "a large body": (
        (
            _head((b"content-length", b"100000")),
            *[_data(bytes(10_000)) for _ in range(9)],
            _data(bytes(10_000), ends=True),
        ),
        False,
    ),
    "more pieces than are kept": (
        (
            _head((b"content-length", b"100")),
            *[_data(b"x") for _ in range(99)],
            _data(b"x", ends=True),
        ),
        False,
    ),
    "a reset in the middle": ((_head(LENGTH), _data(b"bo"), _reset(2)), False),
    "a reset in the middle, in one read": ((_with(_head(LENGTH), _data(b"bo"), _reset(2)),), False),
    "no body for 205": ((lambda n: head(n, [(b":status", b"205")], "END_STREAM"),), False),
    "the end twice": ((_with(WHOLE, _data(b"more", ends=True)),), True),
    "two answers": ((_with(WHOLE, WHOLE),), True),
    "a GOAWAY in the middle": (
        (_head(LENGTH), _with(_go_away(), _data(b"bo")), _data(b"dy", ends=True)),
        True,
    ),
    "a GOAWAY with an error in the middle": (
        (_head(LENGTH), _go_away(code=2), _data(b"body", ends=True)),
        True,
    ),
}
HOSTILE = {**STREAM, **CONNECTION}


async def test_usual_requests(tmp_path: Path) -> None:
    """Client, tool and audit see of a straight call what they see of an ordinary one."""
    async with two_ways(tmp_path, _configured, http2_server=True) as ways:
        await _both(ways, "first")
        for name, (fields, path, answer) in STRAIGHT.items():
            kept = [field for field in fields if field != TE]
            found, is_straight = await _both(
                ways, name, line=(b"GET", path), fields=kept, answer=answer
            )
            assert is_straight, name
            assert len(found.requests) == 1, name
        _, is_straight = await _both(ways, "te", fields=[TE])
        assert not is_straight
        secret = NeverIndexedHeaderTuple(b"x-secret", b"1")
        answer = _with(_head(secret), _data(b"body", ends=True))
        found, is_straight = await _both(ways, "secret", fields=[secret], answer=(answer,))
        assert is_straight
        assert b"\r\nx-secret!: 1\r\n" in found.requests[0]
        assert (b"x-secret!", b"1") in found.blocks[0]
        for pieces, expected in (
            ((_head(LENGTH, ends=True),), True),
            ((_head(LENGTH), _data(b"", ends=True)), True),
            ((WHOLE,), False),
        ):
            found, is_straight = await _both(
                ways, "head", line=(b"HEAD", b"/summary"), answer=pieces
            )
            assert (found.body, is_straight) == (b"", expected)
        for body in (Body((b"que", b"", b"ry")), Body(), Body((b"z" * 15_000,))):
            for line in (POST, (b"PUT", b"/notes")):
                found, is_straight = await _both(ways, "body", line=line, body=body)
                assert is_straight
                (request,) = found.requests
                assert request.partition(b"\r\n\r\n")[2] == b"".join(body.pieces)


async def test_answers(tmp_path: Path) -> None:
    """Also of a call that becomes ordinary, and of the next one."""
    async with two_ways(tmp_path, _configured, http2_server=True) as ways:
        await _both(ways, "first")
        for name, (answer, expected) in ANSWERS.items():
            _, is_straight = await _both(ways, name, answer=answer)
            assert is_straight == expected, name
            _, is_straight = await _both(ways, f"after {name}")
            assert is_straight, f"after {name}"


async def test_malformed_answers(tmp_path: Path) -> None:
    """What breaks a rule of HTTP/2 never answers a straight call."""
    async with two_ways(tmp_path, _configured, http2_server=True) as ways:
        await _both(ways, "first")
        for name, wrong in HOSTILE.items():
            for line in (GET, POST):
                body = Body((b"query",)) if line is POST else None
                await _both(ways, name, line=line, body=body, answer=(wrong,))
            await _both(ways, f"after {name}")
        assert ways[0].counts[1] > len(HOSTILE)


class _Together:
    """An answer that comes once so many calls are under way; the last of them decides.

    `act` gets the numbers of their streams, and returns what the server sends then.
    """

    def __init__(self, site: GatedGateway, count: int, act: Callable[[list[int]], bytes]) -> None:
        self._site, self._count, self._act = site, count, act
        self._numbers: list[int] = []

    def __iter__(self) -> Iterator[Piece]:
        yield self._add
        if len(self._numbers) == self._count:
            self._site.answer = (WHOLE,)
            yield lambda _: self._act(self._numbers)

    def _add(self, number: int) -> bytes:
        self._numbers.append(number)
        return b""


async def _statuses(way: Way, count: int, act: Callable[[list[int]], bytes]) -> list[bytes]:
    """The statuses of so many calls at once, on one connection, while the server does `act`."""
    way.site.answer = _Together(way.site, count, act)  # type: ignore[assignment]
    heads = await way.ask_together(_request(way, GET), count)
    await way.site.world.settled()
    return sorted(dict(fields)[b":status"] for fields in heads)


def _answers(numbers: Sequence[int]) -> bytes:
    return b"".join([WHOLE(number) for number in numbers])


async def test_calls_that_share_a_connection(tmp_path: Path) -> None:
    """A server that refuses, leaves or shrinks: calls that it has not seen go again."""
    async with two_ways(tmp_path, _configured, http2_server=True) as ways:
        for way in ways:
            site = way.site
            pool = site.world.gateway.routes.entries[0].pool
            (host,) = pool.hosts
            await _ask(way)
            asked = len(site.asked)
            assert await _statuses(way, 9, _answers) == [b"200"] * 9
            assert len(site.asked) == asked + 9

            def refuse_some(numbers: list[int]) -> bytes:
                return _answers(numbers[:3]) + b"".join(map(_reset(7), numbers[3:]))

            assert await _statuses(way, 5, refuse_some) == [b"200"] * 5
            assert len(site.asked) == asked + 9 + 5 + 2

            def leave(numbers: list[int]) -> bytes:
                return _go_away(min(numbers))(0) + _answers([min(numbers)])

            assert await _statuses(way, 4, leave) == [b"200"] * 4
            assert len(site.asked) == asked + 16 + 4 + 3

            def shrink(numbers: list[int]) -> bytes:
                return _settings(streams=1)(0) + _answers(numbers)

            assert await _statuses(way, 6, shrink) == [b"200"] * 6
            assert await _statuses(way, 1, _answers) == [b"200"]
            heads = await way.ask_together(_request(way, GET), 7)  # one after the other
            assert [dict(fields)[b":status"] for fields in heads] == [b"200"] * 7
            assert host.outstanding == 0
        done, given_up = ways[0].counts
        assert (done, given_up) == (1 + 9 + 3 + 1 + 6 + 1 + 7, 2 + 3)


async def test_a_server_that_takes_a_body_slowly(tmp_path: Path) -> None:
    """A window of two bytes: the body waits in nghttp2 until the server opens the window."""
    async with two_ways(tmp_path, _configured, http2_server=True) as ways:
        for way in ways:
            way.site.settings = {4: 2}
        await _both(ways, "first")
        found, is_straight = await _both(ways, "body", line=POST, body=Body((b"query",)))
        assert found.requests[0].endswith(b"\r\n\r\nquery")
        assert is_straight


async def test_a_slow_answer_reaches_its_client_at_the_next_sweep(tmp_path: Path) -> None:
    """Also one that is late then; its connection carries other calls."""
    async with two_ways(tmp_path, _configured, http2_server=True) as ways:
        for way in ways:
            await _ask(way)
            answer = _Slow(way, late=0.0)
            seen, _ = await _ask(way, answer=answer)  # type: ignore[arg-type]
            assert (seen.body, seen.reset) == (b"body", None)
            answer = _Slow(way, late=1000.0)
            seen, _ = await _ask(way, answer=answer)  # type: ignore[arg-type]
            assert seen.reset == 2
            assert [record["outcome"] for record in seen.records] == ["upstream-error"]
            await _ask(way)
            assert len(way.site.world.gateway.routes.entries[0].pool.by_connection) == 1
        assert ways[0].counts == (2, 2)


class _Slow:
    """An answer whose second half comes after a sweep, which is `late` by so many seconds."""

    def __init__(self, way: Way, late: float) -> None:
        self._pool = way.site.world.gateway.routes.entries[0].pool
        self._late = late

    def __iter__(self) -> Iterator[Piece]:
        yield _head(LENGTH)
        yield _data(b"bo")
        yield from [lambda _: b""] * 20
        self._pool.sweep(time.monotonic() + self._late)
        yield _data(b"dy", ends=True)


async def test_an_end_from_our_side_in_mid_answer(tmp_path: Path) -> None:
    """A revocation, a client that leaves, an engine that refuses: one record, nothing is kept."""
    async with two_ways(tmp_path, _configured, http2_server=True) as ways:
        for way in ways:
            site = way.site
            pool = site.world.gateway.routes.entries[0].pool
            await _ask(way)
            for act, outcome in (
                (_revoke, "revoked"),
                (_end_all, "cancelled"),
                (_leave, "client-gone"),
            ):
                seen, _ = await _ask(way, answer=_Half(way, act))  # type: ignore[arg-type]
                assert [record["outcome"] for record in seen.records] == [outcome]
                assert seen.body in {b"", b"bo"}
                await way.close()
            await _ask(way)
            (connection,) = pool.by_connection
            connection.engine.terminate_connection()
            seen, _ = await _ask(way)
            assert [record["outcome"] for record in seen.records] == ["done"]
            assert [host.outstanding for host in pool.hosts] == [0]
            assert all(each.is_idle for each in pool.by_connection)


class _Half:
    """Half an answer; then something ends the call."""

    def __init__(self, way: Way, act: Callable[[Way], None]) -> None:
        self._way, self._act = way, act

    def __iter__(self) -> Iterator[Piece]:
        yield _head(LENGTH)
        yield _data(b"bo")
        yield from [lambda _: b""] * 20
        self._act(self._way)


def _revoke(way: Way) -> None:
    permit = way.site.house.permit(way.token)
    permit.release()
    assert way.site.world.live.terminate([permit.grant.branch_key]) == 1


def _end_all(way: Way) -> None:
    assert way.site.world.live.end_all() == 1


def _leave(way: Way) -> None:
    (connection,) = way.site.world.edge.listener.connections
    connection.abort()
