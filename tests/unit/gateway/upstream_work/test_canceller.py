"""The canceller sends each cancellation, tries again where that may help, and reports the rest."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from gateway_world import BRANCH
from upstream_work import Answer, FakePool, work

from crewgate import limits
from crewgate.core.health import HealthState
from crewgate.errors import UnusableResponseError, UpstreamError
from crewgate.gateway.upstream_work.canceller import WorkCanceller
from crewgate.gateway.upstream_work.registry import UpstreamWork
from crewgate.metrics.families import UPSTREAM_CANCELLATIONS
from crewgate.metrics.process_metrics import ProcessMetrics
from crewgate.upstream.buffered_request import BufferedResponse, OwnRequest

OK: Answer = (200, [], b'{"jsonrpc":"2.0","id":1,"result":{}}')
EVENTS = [(b"content-type", b"text/event-stream")]


def error(code: int) -> bytes:
    return b'{"jsonrpc":"2.0","id":1,"error":{"code":%d,"message":"no"}}' % code


class World:
    """A canceller with the endpoints `files` and `other`, and their counts."""

    def __init__(self, pool: FakePool, other: FakePool) -> None:
        self.metrics = ProcessMetrics.unshared()
        self.canceller = WorkCanceller(self.metrics)
        routes: list[Any] = [
            SimpleNamespace(server_name=name, own=((b"authorization", b"ours"),), pool=each)
            for name, each in (("files", pool), ("other", other))
        ]
        self.canceller.use(routes)

    def count(self, result: str, endpoint: str = "files") -> int:
        return self.metrics.series(UPSTREAM_CANCELLATIONS, endpoint, result).value

    def health(self, later: float = 0.0) -> list[tuple[HealthState, str]]:
        facts = self.canceller.facts(time.monotonic() + later)
        return [(each.state, each.why) for each in facts]


@asynccontextmanager
async def running(
    answer: Callable[[bytes], Answer], other: Callable[[bytes], Answer] = lambda _: OK
) -> AsyncIterator[tuple[World, FakePool, FakePool]]:
    pools = FakePool(answer), FakePool(other)
    world = World(*pools)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.canceller.run)
        await trio.testing.wait_all_tasks_blocked()
        yield world, *pools
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        (202, [], b""),
        (204, [], b""),
        (200, EVENTS, b'event: message\ndata: {"id":1,"result":{}}\n\n'),
        (404, [], b"no such session"),
        (410, [], b""),
        (409, [], b""),
        (400, [], error(-32602)),
        (200, [], error(-32602)),
        (200, [], error(-32001)),
        (200, EVENTS, b"data: " + error(-32002) + b"\n\n"),
        (400, [], b'{"error":{"code":400,"details":[{"reason":"TASK_NOT_CANCELABLE"}]}}'),
        (200, [(b"grpc-status", b"0")], b"\0\0\0\0\0"),
        (200, [(b"grpc-status", b"5")], b""),
        (200, [(b"grpc-status", b"9")], b""),
    ],
)
async def test_work_is_cancelled_once(autojump_clock: object, answer: Answer) -> None:
    """The server has ended it, or says that it had ended. The request says who asks."""
    async with running(lambda _: answer) as (world, pool, _):
        world.canceller.cancel([(work("a"),)])
        await trio.sleep(60)
        assert (pool.sent, world.count("cancelled"), world.health()) == ([b"a"], 1, [])
        assert pool.running == 0
        fields = dict(pool.heads[0].fields)
        assert fields[b"x-crewgate-branch"] == BRANCH.encode()
        assert (fields[b"authorization"], fields[b"x-id"]) == (b"ours", b"a")
        assert b"authorization: ours\r\n" in pool.heads[0].lines


class Search:
    """Finds what the bodies of the responses name, one after the other."""

    body_bytes_max = 100

    def request(self) -> OwnRequest:
        return OwnRequest(b"POST", b"/mcp", (), b"which?")

    def found(self, response: BufferedResponse) -> list[UpstreamWork] | None:
        if response.body == b"?":
            raise UnusableResponseError("which work")
        return [work(name) for name in response.body.decode().split()] or None


def searched() -> UpstreamWork:
    return msgspec.structs.replace(work("call"), request=Search())


async def test_work_that_is_not_known_is_searched_for(autojump_clock: object) -> None:
    """The server may begin it late; the canceller cancels and counts the work that it finds."""
    lists = iter([b"", b"a b"])
    async with running(lambda sent: (200, [], next(lists)) if sent == b"which?" else OK) as found:
        world, pool, _ = found
        world.canceller.cancel([(searched(),)])
        await trio.sleep(60)
        assert pool.sent == [b"which?", b"which?", b"a", b"b"]
        assert (world.count("cancelled"), world.health()) == (2, [])


@pytest.mark.parametrize(
    ("answer", "sent", "why"),
    [
        ((200, [], b""), 3, ""),
        ((200, [], b"?"), 1, "which work"),
        ((200, [], b"x" * 101), 3, "longer than 100"),
        ((200, [], error(-32601)), 1, "the server answered error -32601"),
    ],
)
async def test_a_search_that_fails_is_reported(
    autojump_clock: object, answer: Answer, sent: int, why: str
) -> None:
    """If it finds nothing in time, then there is nothing."""
    async with running(lambda _: answer) as (world, pool, _):
        world.canceller.cancel([(searched(),)])
        await trio.sleep(60)
        assert pool.sent == [b"which?"] * sent
        assert world.count("cancelled") == 0
        assert [why in text for _, text in world.health()] == [True] * bool(why)


@pytest.mark.parametrize(
    ("answer", "sent", "result", "why"),
    [
        ((403, [], b""), 1, "refused", "the server answered status 403"),
        ((200, [], error(-32601)), 1, "refused", "the server answered error -32601"),
        ((200, [(b"grpc-status", b"7")], b""), 1, "refused", "the server answered gRPC status 7"),
        ((200, EVENTS, b"data: " + error(-32603) + b"\n\n"), 1, "refused", "error -32603"),
        ((503, [], b""), 3, "failed", "the server answered status 503"),
        ((429, [], b""), 3, "failed", "the server answered status 429"),
        (UpstreamError("connection refused"), 3, "failed", "connection refused"),
        (None, 3, "failed", "no response within 5 s"),
        ((200, [], b"x" * (limits.cancellation_bytes_max + 1)), 3, "failed", "longer than 65536"),
    ],
)
async def test_a_failure_is_reported(
    autojump_clock: object,
    log_lines: list[str],
    answer: Answer,
    sent: int,
    result: str,
    why: str,
) -> None:
    """After some attempts; health shows it for a while, and the log too."""
    async with running(lambda _: answer) as (world, pool, _):
        world.canceller.cancel([(work("a"),)])
        await trio.sleep(60)
        assert (len(pool.sent), world.count(result), pool.running) == (sent, 1, 0)
        ((state, text),) = world.health()
        assert state is HealthState.DEGRADED
        assert why in text
        assert "1 tasks or sessions of revoked branches could not be cancelled" in text
        assert why in log_lines[0]
        assert world.health(limits.cancellation_failure_seconds)[0][0] is HealthState.OK


async def test_a_server_may_keep_its_sessions(autojump_clock: object) -> None:
    """405 to DELETE is no failure: 2025-11-25 lets a server end its sessions by itself."""
    async with running(lambda _: (405, [], b"")) as (world, pool, _):
        world.canceller.cancel([(work("a"),)])
        await trio.sleep(60)
        assert (len(pool.sent), world.count("refused"), world.health()) == (1, 1, [])


async def test_a_later_attempt_may_succeed(autojump_clock: object) -> None:
    answers: list[Answer] = [UpstreamError("reset"), (500, [], b""), OK]
    async with running(lambda _: answers.pop(0)) as (world, pool, _):
        world.canceller.cancel([(work("a"),)])
        await trio.sleep(60)
        assert (len(pool.sent), world.count("cancelled"), world.health()) == (3, 1, [])


async def test_a_dead_server_delays_no_other(autojump_clock: object) -> None:
    """At most 16 requests are under way to one; the work of one session comes in its order."""
    async with running(lambda _: None) as (world, pool, other):
        world.canceller.cancel([(work(f"{number}"),) for number in range(100)])
        session = (work("b", endpoint="other"), work("c", endpoint="other"))
        world.canceller.cancel([(work("a", endpoint="other"),), session])
        with trio.move_on_after(1):
            await trio.sleep_forever()
        assert pool.running == limits.cancellations_each_max == 16
        assert (other.sent, world.count("cancelled", "other")) == ([b"a", b"b", b"c"], 3)
        await trio.sleep(1000)
        assert (world.count("failed"), len(pool.sent), pool.running) == (100, 300, 0)


async def test_an_endpoint_may_be_gone(autojump_clock: object) -> None:
    async with running(lambda _: OK) as (world, pool, _):
        world.canceller.use([])
        world.canceller.cancel([(work("a"),)])
        await trio.sleep(60)
        assert (pool.sent, world.count("failed")) == ([], 1)
        assert "no more" in world.health()[0][1]


async def test_an_internal_error_ends_one_cancellation_only(autojump_clock: object) -> None:
    def answer(body: bytes) -> Answer:
        if body == b"a":
            raise ValueError(body)
        return OK

    async with running(answer) as (world, _, _):
        world.canceller.cancel([(work("a"),), (work("b"),)])
        await trio.sleep(60)
        assert (world.count("failed"), world.count("cancelled")) == (1, 1)
