"""Streams that are cut: by a revocation, by the token's end; and those beside them that are not."""

from pathlib import Path

import httpx
import pytest
import trio
from gateway_world import EXPIRES, ROOT, SIBLING, World, grant_of, running_gateway
from scripted_server import read_request

from crewgate.core.audit.records import CallOutcome
from crewgate.core.ids import branch_key

VERSIONS = pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
PLAIN = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENTS = PLAIN.replace(b"\r\nTransfer", b"\r\nContent-Type: text/event-stream\r\nTransfer")


def _stream(head: bytes, first: bytes):  # noqa: ANN202 - a script
    async def script(stream: trio.SocketStream, number: int) -> None:
        await read_request(stream)
        await stream.send_all(head + b"%x\r\n%b\r\n" % (len(first), first))
        await trio.sleep_forever()

    return script


def _outcomes(world: World) -> list[CallOutcome]:
    return [
        record.outcome for record in world.sink.records if type(record).__name__ == "CallRecord"
    ]


@VERSIONS
async def test_revoked_event_stream_gets_a_last_event(http2: bool, tmp_path: Path) -> None:
    """Cut by its ancestor's key, an event stream ends with an error event; a sibling goes on."""
    event = b"data: 1\n\n"
    async with (
        running_gateway(_stream(EVENTS, event), tmp_path) as world,
        world.client(http2=http2) as client,
    ):
        other = {"authorization": "Bearer sibling"}
        async with (
            client.stream("GET", "/summary") as answer,
            client.stream("GET", "/summary", headers=other) as sibling,
        ):
            pieces, siblings = answer.aiter_raw(), sibling.aiter_raw()
            assert await anext(pieces) == event
            assert await anext(siblings) == event
            assert (
                world.live.terminate([branch_key("article", world.judge.grants[b"good"].branch)])
                == 1
            )
            rest = b"".join([piece async for piece in pieces])
            assert rest.startswith(b"event: error\ndata: {")
            assert b"branch-revoked" in rest
            assert rest.endswith(b"\n\n")
            assert len(world.live) == 1
            assert world.live.terminate([branch_key("article", ROOT)]) == 1
            assert b"branch-revoked" in b"".join([piece async for piece in siblings])
        await world.settled()
    assert _outcomes(world) == [CallOutcome.REVOKED, CallOutcome.REVOKED]
    assert [permit.ended for permit in world.judge.permits] == ["settled", "settled"]
    opened = [record for record in world.sink.records if type(record).__name__ == "StreamOpened"]
    assert len(opened) == 2


@VERSIONS
@pytest.mark.parametrize(
    ("head", "first"), [(PLAIN, b"x"), (EVENTS, b"data: half an ev")], ids=["plain", "half event"]
)
async def test_revoked_stream_is_reset(
    head: bytes, first: bytes, http2: bool, tmp_path: Path
) -> None:
    """Where no event can be said the answer is broken off: nobody can take it for whole."""
    async with (
        running_gateway(_stream(head, first), tmp_path) as world,
        world.client(http2=http2) as client,
        client.stream("GET", "/summary") as answer,
    ):
        pieces = answer.aiter_raw()
        assert await anext(pieces) == first
        world.judge.permits[0].revoked = True
        assert world.live.terminate_revoked() == 1
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(pieces)
        await world.settled()
    assert _outcomes(world) == [CallOutcome.REVOKED]


@VERSIONS
async def test_revoked_before_the_answer(http2: bool, tmp_path: Path) -> None:
    """The client gets 401, and no error code after which it would repeat the call."""
    asked = trio.Event()

    async def script(stream: trio.SocketStream, number: int) -> None:
        await read_request(stream)
        asked.set()
        await trio.sleep_forever()

    async with (
        running_gateway(script, tmp_path) as world,
        world.client(http2=http2) as client,
        trio.open_nursery() as nursery,
    ):
        answers = []

        async def call() -> None:
            answers.append(await client.get("/summary"))

        nursery.start_soon(call)
        await asked.wait()
        assert world.live.terminate([branch_key("article", ROOT)]) == 1
    assert answers[0].status_code == 401
    assert answers[0].json()["type"].endswith("/branch-revoked")
    assert "error=" not in answers[0].headers["www-authenticate"]
    assert world.judge.permits[0].ended == "settled"


async def test_stream_ends_with_its_token(tmp_path: Path) -> None:
    """At `exp` a stream ends, unless a later grant of the same branch was presented meanwhile."""
    event = b"data: 1\n\n"
    async with (
        running_gateway(_stream(EVENTS, event), tmp_path) as world,
        world.client(http2=True) as client,
        client.stream("GET", "/summary") as answer,
    ):
        pieces = answer.aiter_raw()
        await anext(pieces)
        assert world.live.sweep(EXPIRES - 1, 0) == 0
        world.judge.grants[b"fresh"] = grant_of(expires=EXPIRES + 900)
        fresh = {"authorization": "Bearer fresh"}
        async with client.stream("GET", "/summary", headers=fresh):
            assert world.live.sweep(EXPIRES, 0) == 0
            assert world.live.sweep(EXPIRES + 900, 0) == 2
        rest = b"".join([piece async for piece in pieces])
        assert b"token-expired" in rest
        await world.settled()
    assert _outcomes(world) == [CallOutcome.EXPIRED, CallOutcome.EXPIRED]


async def test_long_call_keeps_its_reservation(tmp_path: Path) -> None:
    """The deadline of a reservation moves while the call goes on, not at every look."""
    async with (
        running_gateway(_stream(EVENTS, b"data: 1\n\n"), tmp_path) as world,
        world.client(http2=True) as client,
        client.stream("GET", "/summary"),
    ):
        for second in range(1, 400):
            world.live.sweep(EXPIRES - 400 + second, second * 10**9)
        permit = world.judge.permits[0]
        assert permit.extended == [601 * 10**9, 801 * 10**9]


def test_sibling_is_another_branch() -> None:
    """The sibling shares the ancestor and nothing else (a guard for the tests above)."""
    mine, other = grant_of(), grant_of(SIBLING)
    assert mine.path_keys == other.path_keys
    assert mine.branch_key != other.branch_key
