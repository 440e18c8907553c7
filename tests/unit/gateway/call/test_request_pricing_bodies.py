"""Bodies that are read to be priced: kept in memory, and so bounded together."""

import gc

import pytest
import trio
from fake_host import FakeHost

from crewgate import limits
from crewgate.errors import PeerError
from crewgate.gateway.call.request_pricing import BodyReader
from crewgate.server.exchange import Exchange
from crewgate.server.http1 import HTTP1

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def exchange_of(*pieces: bytes, ends: bool = True) -> tuple[Exchange, HTTP1]:
    """A request whose body has come so far."""
    host = FakeHost()
    client = HTTP1(host)
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    client.receive(HEAD + body + (END if ends else b""))
    return host.exchanges[0], client


def refuse() -> None:
    raise AssertionError("no body here is over its bound")


async def test_a_body_takes_room_for_as_long_as_anybody_has_it() -> None:
    """Once the last one lets it go, its room is another's."""
    reader = BodyReader()
    body = await reader.read(exchange_of(b"abc", b"de")[0], "crew", refuse)
    empty = await reader.read(exchange_of()[0], "crew", refuse)
    assert (body, empty, reader.quota.taken) == (b"abcde", b"", 5)
    held = [body]
    del body
    assert reader.quota.taken == 5
    held.clear()
    gc.collect()
    assert reader.quota.taken == 0


async def test_a_crews_bodies_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """One for which there is no room is given up and takes none; another crew has its own."""
    monkeypatch.setattr(limits, "priced_bodies_bytes_max", 16)
    reader = BodyReader()
    first = await reader.read(exchange_of(b"abcde")[0], "a", refuse)
    assert await reader.read(exchange_of(b"f", b"ghi")[0], "a", refuse) is None
    assert reader.quota.taken == 5
    second = await reader.read(exchange_of(b"fghi")[0], "b", refuse)
    assert (second, reader.quota.taken) == (b"fghi", 9)
    assert await reader.read(exchange_of(b"jkl")[0], "a", refuse) == b"jkl"
    del first
    gc.collect()
    assert await reader.read(exchange_of(b"mnopqrst")[0], "a", refuse) == b"mnopqrst"


async def test_a_client_that_goes_takes_no_room() -> None:
    """What had come of its body is forgotten."""
    reader = BodyReader()
    exchange, client = exchange_of(b"abc", ends=False)

    async def read() -> None:
        with pytest.raises(PeerError):
            await reader.read(exchange, "crew", refuse)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        assert reader.quota.taken == 3
        client.lose()
    assert (reader.quota.taken, exchange.watcher) == (0, None)


async def test_a_client_that_dawdles_takes_no_room_for_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """After a while its body is given up."""
    reader = BodyReader()
    exchange, _ = exchange_of(b"abc", ends=False)
    assert await reader.read(exchange, "crew", refuse) is None
    assert trio.current_time() == limits.priced_body_seconds_max
    assert (reader.quota.taken, exchange.watcher) == (0, None)


async def test_a_priced_body_has_its_own_bound() -> None:
    """It is never more than may be kept, and less where its tool says so."""
    for own, bound in ((10**12, limits.priced_body_bytes_max), (5, 5)):
        exchange, _ = exchange_of(b"ab")
        exchange.body_bytes_max = own
        await BodyReader().read(exchange, "crew", refuse)
        assert exchange.body_bytes_max == bound


async def test_a_body_over_its_bound_is_answered_while_it_is_read() -> None:
    """Whoever reads it goes home, and its room is free."""
    reader, refused = BodyReader(), []
    exchange, client = exchange_of(b"abc", ends=False)
    exchange.body_bytes_max = 5

    def answer() -> None:
        refused.append(exchange)
        exchange.respond(413, [], b"")

    async def read() -> None:
        with pytest.raises(PeerError):
            await reader.read(exchange, "crew", answer)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        client.receive(b"3\r\ndef\r\n")
    assert (refused, reader.quota.taken) == ([exchange], 0)
    assert client.bytes_to_send().startswith(b"HTTP/1.1 413")
