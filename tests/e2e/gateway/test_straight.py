"""Calls that compiled code carries alone: the same for all that see them as on the Python way."""

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import trio
import trio.testing
from gated_gateway import GatedGateway, gated_gateway
from msgspec import structs
from straight_cases import CHUNKED, STRAIGHT
from two_ways import OK, Seen, Way, two_ways

from crewgate import limits
from crewgate._native.permit import Permit
from crewgate.config import Config
from crewgate.server.connection import ClientConnection
from crewgate.server.http2 import HTTP2
from crewgate.upstream.interfaces import CallObserver

Fields = list[tuple[bytes, bytes]]
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def _asks(
    way: Way, *fields: tuple[bytes, bytes], path: bytes = b"/summary", method: bytes = b"GET"
) -> Fields:
    return [
        (b":method", method),
        (b":scheme", b"https"),
        (b":path", path),
        (b":authority", b"gateway.example:8443"),
        (b"authorization", b"Bearer " + way.token),
        *fields,
    ]


async def _both(
    ways: tuple[Way, Way],
    *fields: tuple[bytes, bytes],
    path: bytes = b"/summary",
    method: bytes = b"GET",
    answer: Sequence[bytes] = (OK,),
) -> tuple[Seen, bool]:
    """What a request causes, the same both ways, and whether compiled code carried it alone."""
    straight, ordinary = ways
    before = straight.counts
    asked = [_asks(way, *fields, path=path, method=method) for way in ways]
    found = await straight.ask(asked[0], answer)
    expected = await ordinary.ask(asked[1], answer)
    assert found == expected
    assert ordinary.counts == (0, 0)
    return found, straight.counts[0] > before[0]


@pytest.mark.parametrize("case", STRAIGHT)
async def test_straight_calls(case: str, tmp_path: Path) -> None:
    """Client, tool, audit and metrics see of a straight call what they see of an ordinary one."""
    fields, path, answer = STRAIGHT[case]
    async with two_ways(tmp_path) as ways:
        await _both(ways, answer=(OK,))  # opens the connections, and draws
        found, is_straight = await _both(ways, *fields, path=path, answer=answer)
        assert is_straight
        assert len(found.requests) == 1


# What answers a HEAD, and whether the call is straight.
HEAD_ANSWERS = [
    (b"HTTP/1.1 200 OK\r\nETag: x\r\n\r\n", True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 300\r\n\r\n", True),
    (b"HTTP/1.1 404 None\r\nContent-Length: 2\r\n\r\n", True),
    (CHUNKED, True),
    (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n", False),
    (CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n"), False),
    (OK, False),
]


async def test_the_head_of_an_answer_alone(tmp_path: Path) -> None:
    """A HEAD goes straight to the tool of GET. Its answer has no body, whatever it announces."""
    async with two_ways(tmp_path) as ways:
        await _both(ways)
        for answer, expected in HEAD_ANSWERS:
            found, is_straight = await _both(ways, method=b"HEAD", answer=(answer,))
            assert (found.body, is_straight) == (b"", expected), answer
            await _both(ways)  # gets its own answer


ORDINARY: dict[str, tuple[Sequence[tuple[bytes, bytes]], bytes, Sequence[bytes]]] = {
    "another path": ((), b"/nothing", (OK,)),
    "an encoded path": ((), b"/%73ummary", (OK,)),
    "a second token": (((b"authorization", b"Bearer x.y.z"),), b"/summary", (OK,)),
    "a token in the query": ((), b"/summary?access_token=1", (OK,)),
    "a field of the gateway": (((b"x-crewgate-crew", b"liar"),), b"/summary", (OK,)),
    "another host": (((b"host", b"other"),), b"/summary", (OK,)),
    "a length": (((b"content-length", b"0"),), b"/summary", (OK,)),
    "a bad query": ((), b"/summary?\x7f", (OK,)),
    "hints": (
        (),
        b"/summary",
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,),
    ),
    "until the end": ((), b"/summary", (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall",)),
    "an extended chunk": ((), b"/summary", (CHUNKED + b"2;x=y\r\nde\r\n0\r\n\r\n",)),
    "trailers": ((), b"/summary", (CHUNKED + b"1\r\na\r\n0\r\nx-sum: 1\r\n\r\n",)),
    "events": ((), b"/summary", (EVENTS, b"9\r\ndata: 1\n\n\r\n", b"0\r\n\r\n")),
    "many events": (
        (),
        b"/summary",
        (EVENTS, *[b"9\r\ndata: %d\n\n\r\n" % (each % 10) for each in range(50)], b"0\r\n\r\n"),
    ),
    "events that break off": ((), b"/summary", (EVENTS, b"9\r\ndata: 1\n\n\r\n", b"?")),
    "no HTTP": ((), b"/summary", (b"SSH-2.0-x\r\n",)),
    "two lengths": (
        (),
        b"/summary",
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",),
    ),
    "length and chunks": (
        (),
        b"/summary",
        (CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\n") + b"0\r\n\r\n",),
    ),
    "large": (
        (),
        b"/summary",
        (b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n", b"x" * 300_000),
    ),
    "more than its length": ((), b"/summary", (OK + b"?",)),
}


@pytest.mark.parametrize("case", ORDINARY)
async def test_ordinary_calls(case: str, tmp_path: Path) -> None:
    """A call that is not straight, or stops being so, has the same results; so has the next one."""
    fields, path, answer = ORDINARY[case]
    async with two_ways(tmp_path) as ways:
        await _both(ways, answer=(OK,))
        await _both(ways, *fields, path=path, answer=answer)
        await _both(ways, answer=(OK,))
        _, is_straight = await _both(ways, answer=(OK,))
        assert is_straight


async def test_a_closed_connection_is_freed_at_once(tmp_path: Path) -> None:
    """No reference cycle keeps it until a collection: it holds 60 KB."""
    async with two_ways(tmp_path) as ways:
        await _both(ways)
        gc.collect()  # what earlier tests have left
        gc.disable()
        try:
            for way in ways:
                await way.close()
                while way.site.world.edge.listener.connections:
                    await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
            kept = [each for each in gc.get_objects() if isinstance(each, HTTP2 | ClientConnection)]
        finally:
            gc.enable()
        assert not kept


class _Late:
    """An answer that comes once the gateway has ended the connection to its client."""

    def __init__(self, way: Way) -> None:
        (self._connection,) = way.site.world.edge.listener.connections
        self._live = way.site.world.live

    def __iter__(self) -> Iterator[bytes]:
        if not self._live:
            return
        self._connection.protocol.engine.terminate_connection(11)
        yield OK
        while self._live:
            yield b""
        self._connection.wake()  # which writes the GOAWAY


async def test_an_answer_comes_while_the_connection_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The client has left, as on the Python way. It is no internal error."""
    async with two_ways(tmp_path) as ways:
        await _both(ways)
        for way in ways:
            seen = await way.ask(_asks(way), _Late(way))
            assert [record["outcome"] for record in seen.records] == ["client-gone"]
    assert "internal error" not in caplog.text


def _one_connection(config: Config) -> Config:
    upstream = structs.replace(config.upstreams[0], connections=1)
    return structs.replace(config, upstreams=(upstream,))


async def test_calls_that_wait_for_a_connection(tmp_path: Path) -> None:
    """They are straight too; a revocation ends them while they wait, and they cost nothing."""
    async with two_ways(tmp_path, _one_connection) as ways:
        straight = ways[0]
        await _both(ways)
        heads = await straight.ask_together(_asks(straight), 9)
        assert [dict(fields)[b":status"] for fields in heads] == [b"200"] * 9
        assert straight.counts == (10, 0)
        site, fields = straight.site, _asks(straight)
        site.hold = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_expect_refusals, straight, fields)
            while len(site.world.live) < 3 or len(site.asked) < 11:
                await trio.lowlevel.checkpoint()
            permit = site.house.permit(straight.token)
            permit.release()
            assert site.world.live.terminate([permit.grant.branch_key]) == 3
        site.hold.set()
        site.world.gateway._services.settlements.flush()
        ended = [(each.outcome, each.cost_micro) for each in site.world.sink.records[-3:]]
        assert sorted(ended) == [("revoked", 0), ("revoked", 0), ("revoked", 10_000)]


async def _expect_refusals(way: Way, fields: Fields) -> None:
    heads = await way.ask_together(fields, 3)
    assert [dict(each)[b":status"] for each in heads] == [b"401"] * 3


class _Queued:
    """An answer that comes once a second call waits; the tool closes the connection on that one."""

    def __init__(self, site: GatedGateway) -> None:
        self._site = site

    def __iter__(self) -> Iterator[bytes]:
        while len(self._site.world.live) == 1:
            yield b""
        self._site.drops = 1
        self._site.answer = (OK,)
        yield OK


def _alone(config: Config) -> Config:
    return structs.replace(
        config, upstreams=tuple(structs.replace(each, connections=1) for each in config.upstreams)
    )


async def test_the_attempts_of_a_waiting_call_count(tmp_path: Path) -> None:
    """A call that has used up its attempts as it waited is not tried again after it was sent."""
    async with gated_gateway(tmp_path, _alone, ("*",), http2=True, straight=True) as site:
        site.stays, site.answer = True, _Queued(site)  # type: ignore[assignment]
        token = site.token(["summary.*", "search.*"])
        permit = site.house.permit(token.encode())
        site.house.draw(permit.grant, 1_000_000)
        permit.release()
        pool = site.world.gateway.routes.entries[0].pool
        start = pool.start

        def start_late(permit: Permit, caller: CallObserver) -> None:
            caller.attempts = limits.upstream_retries_max
            start(permit, caller)

        pool.start = start_late  # type: ignore[method-assign]
        statuses = []

        async def ask() -> None:
            answer = await site.client.get("/summary", headers={"authorization": f"Bearer {token}"})
            statuses.append(answer.status_code)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)
        assert sorted(statuses) == [200, 502]
        assert len(site.asked) == 2
        straight = site.world.gateway.straight
        assert (straight.done, straight.given_up) == (1, 1)
