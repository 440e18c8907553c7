"""Straight calls with a body: client, tool and audit see what they see of ordinary calls."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from msgspec import structs
from two_ways import OK, Body, Seen, Way, two_ways

from crewgate import limits
from crewgate.config import Config, ToolConfig
from crewgate.core.pricing.sources import NumberTerm
from crewgate.core.pricing.tariff import MILLION, Tariff

Fields = Sequence[tuple[bytes, bytes]]
BY_COPIES = Tariff(1, 10_000, (NumberTerm(10 * MILLION, ("copies",)),))
LENGTH = b"content-length"


def _configured(config: Config) -> Config:
    """More tools: one to write with, one with a small limit, one whose price is in the body."""
    tools = (
        *config.tools,
        ToolConfig("search.put", "PUT", "/notes", "tools", 10_000),
        ToolConfig("search.small", "POST", "/small", "tools", 10_000, body_bytes_max=4),
        ToolConfig("search.copy", "POST", "/copy", "tools", 10_000, tariff=BY_COPIES),
    )
    return structs.replace(config, tools=tools)


class Case(NamedTuple):
    """One request and its answer, and whether its call is straight; `drops` of the server."""

    is_straight: bool
    body: Body | None
    fields: Fields = ()
    line: tuple[bytes, bytes] = (b"POST", b"/search")
    answer: Sequence[bytes] = (OK,)
    drops: int = 0


QUERY = Body((b"query",))
PUT = (b"PUT", b"/notes")
CUT_HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Len"
LARGE = limits.straight_body_bytes_max + 1
CASES = {
    "a length": Case(True, QUERY, ((LENGTH, b"5"),)),
    "no length": Case(True, QUERY),
    "zeros before the length": Case(True, QUERY, ((LENGTH, b"0005"),)),
    "three frames": Case(True, Body((b"que", b"", b"ry")), ((LENGTH, b"5"),)),
    "a request of HTTP/1.1 in the body": Case(
        True, Body((b"\r\n\r\nGET / HTTP/1.1\r\nx: y\r\n\r\n",))
    ),
    "an empty frame": Case(True, Body()),
    "no body, and its length": Case(True, None, ((LENGTH, b"0"),)),
    "a GET with a body": Case(True, QUERY, ((LENGTH, b"5"),), (b"GET", b"/summary")),
    "a GET without a body": Case(True, None, ((LENGTH, b"0"),), (b"GET", b"/summary")),
    "a PUT": Case(True, QUERY, ((LENGTH, b"5"),), PUT),
    "asks before it sends": Case(True, QUERY, ((b"expect", b"100-continue"),)),
    "as large as a read": Case(True, Body((b"z" * 15_000,))),
    "gRPC": Case(True, QUERY, ((b"content-type", b"application/grpc"), (b"te", b"trailers"))),
    "at the tool's limit": Case(True, Body((b"1234",)), (), (b"POST", b"/small")),
    "body after its head": Case(False, Body((b"query",), cuts=(-14,)), ((LENGTH, b"5"),)),
    "body in two reads": Case(False, Body((b"query",), cuts=(-2,)), ((LENGTH, b"5"),)),
    "body after its head, together": Case(
        True, Body((b"query",), cuts=(-14,), together=True), ((LENGTH, b"5"),)
    ),
    "a record for each byte, together": Case(
        True, Body((b"que", b"ry"), cuts=tuple(range(-24, 0)), together=True), ((LENGTH, b"5"),)
    ),
    "a cut head, together": Case(
        True, Body((b"query",), cuts=(5, 20), together=True), ((LENGTH, b"5"),)
    ),
    "trailers after the body, together": Case(
        False, Body((b"query",), ((b"x-sum", b"1"),), (-14,), together=True), ((LENGTH, b"5"),)
    ),
    "too large, together": Case(
        False,
        Body((bytes(10_000), bytes(LARGE - 10_000)), cuts=(-9000,), together=True),
        ((LENGTH, b"16385"),),
    ),
    "too large": Case(False, Body((bytes(10_000), bytes(LARGE - 10_000))), ((LENGTH, b"16385"),)),
    "over the tool's limit": Case(False, QUERY, (), (b"POST", b"/small")),
    "too short": Case(False, QUERY, ((LENGTH, b"6"),)),
    "too long": Case(False, QUERY, ((LENGTH, b"4"),)),
    "two lengths": Case(False, QUERY, ((LENGTH, b"5"), (LENGTH, b"5"))),
    "too many digits": Case(False, QUERY, ((LENGTH, b"5".rjust(19, b"0")),)),
    "trailers": Case(False, Body((b"query",), ((b"x-sum", b"1"),)), ((LENGTH, b"5"),)),
    "judged by its body": Case(False, QUERY, (), (b"POST", b"/v1/embeddings")),
    "priced by its body": Case(False, Body((b'{"copies": 7}',)), (), (b"POST", b"/copy")),
    "a cut head of an answer": Case(False, QUERY, answer=(CUT_HEAD,)),
    "a server that leaves": Case(False, QUERY, drops=1),
    "a server that leaves, and another try": Case(False, QUERY, (), PUT, drops=1),
}


async def _ask(way: Way, case: Case) -> tuple[Seen, bool]:
    """What a request causes, and whether compiled code has carried it alone."""
    method, path = case.line
    fields = [
        (b":method", method),
        (b":scheme", b"https"),
        (b":path", path),
        (b":authority", b"gateway.example:8443"),
        (b"authorization", b"Bearer " + way.token),
        *case.fields,
    ]
    done, _ = way.counts
    way.site.drops = case.drops
    seen = await way.ask(fields, case.answer, case.body)
    return seen, way.counts[0] > done


async def test_bodies(tmp_path: Path) -> None:
    """Client, tool and audit see of a call what they see of an ordinary one; so of the next one."""
    async with two_ways(tmp_path, _configured) as ways:
        for name, case in CASES.items():
            for way in ways:
                await _ask(way, Case(False, None))  # opens the connections, and draws
            (found, is_straight), (expected, _) = [await _ask(way, case) for way in ways]
            assert found == expected, name
            assert is_straight == case.is_straight, name
            if not case.is_straight:
                continue
            sent = b"".join(case.body.pieces) if case.body is not None else b""
            assert [each.partition(b"\r\n\r\n")[2] for each in found.requests] == [sent], name
            assert [each["bytes_in"] for each in found.records] == [len(sent)], name


async def test_a_body_is_sent_again_only_if_the_tool_may_get_it_twice(tmp_path: Path) -> None:
    """A server that gets the request and leaves: PUT is tried again, with its body; POST is not."""
    async with two_ways(tmp_path, _configured) as (way, _):
        for line, times, status in (((b"POST", b"/search"), 1, b"502"), (PUT, 2, b"200")):
            await _ask(way, Case(True, None))
            _, given_up = way.counts
            seen, _ = await _ask(way, Case(False, QUERY, (), line, drops=1))
            assert way.counts[1] == given_up + 1
            assert [each[-5:] for each in seen.requests] == [b"query"] * times
            assert dict(seen.blocks[0])[b":status"] == status
            assert [each["bytes_in"] for each in seen.records] == [5]
