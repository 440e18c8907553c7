"""A call on its way, without sockets: the pool and its carriers are the test's."""

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from fake_host import FakeHost
from gateway_world import SEALER, FakeJudge, FakeSink, config_of, grant_of
from log_lines import logged
from mcp_messages import encoded, headers, modern

from crewgate import limits
from crewgate._datapath.in_flight import InFlightCalls
from crewgate.config import UpstreamOrigin
from crewgate.core.audit.records import CallOutcome
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial
from crewgate.errors import UpstreamCircuitOpenError, UpstreamError
from crewgate.gateway.call.call_services import CallServices
from crewgate.gateway.call.gateway import Gateway
from crewgate.gateway.call.undecided_call import ListenerPolicy, UndecidedCall
from crewgate.gateway.routes import build
from crewgate.runtime.process_log import RepetitionFilter
from crewgate.server.connection import _run_guarded
from crewgate.server.exchange import Exchange
from crewgate.server.http1 import HTTP1
from crewgate.upstream.interfaces import CallObserver, RequestHead

UPLOAD = (
    b"PUT /pages/a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer good\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
GET = b"GET /pages/a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer good\r\n\r\n"


class Carrier:
    """Keeps what it is given. Is its own answer."""

    def __init__(self) -> None:
        self.touched = self.complete = self.informed = False
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.trailers: list[tuple[bytes, bytes]] = []
        self.hints: list[tuple[int, list[tuple[bytes, bytes]]]] = []
        self.came = self.sent = b""
        self.ends = self.released = False
        self.answer = self

    def begin(self, head: RequestHead, body: bytes, *, ends: bool) -> bool:
        self.sent, self.ends = body, ends
        return True

    def send_body(self, data: bytes) -> bool:
        self.sent += data
        return True

    def end_body(self, trailers: Sequence[tuple[bytes, bytes]]) -> None:
        self.ends = True

    def take(self) -> bytes:
        came, self.came = self.came, b""
        return came

    def take_informational(self) -> list[tuple[int, list[tuple[bytes, bytes]]]]:
        return self.hints

    def release(self) -> None:
        self.released = True

    def pause(self) -> None:
        pass

    resume = pause


class World:
    """A gateway, and a client of HTTP/1.1 before it. `callers` wait for carriers."""

    def __init__(self, folder: Path) -> None:
        config = config_of(UpstreamOrigin("http", "tool", 80), folder)
        self.upstream = config.upstreams[0]
        self.callers: list[CallObserver] = []
        self.judge, self.sink, self.live = FakeJudge(), FakeSink(), InFlightCalls(1)
        site = build(config, {"tools": self}, sealer=SEALER)  # type: ignore[dict-item]
        services = CallServices(self.judge, self.live, self.sink, self, self)  # type: ignore[arg-type]
        self.gateway = Gateway(ListenerPolicy("agents"), site, services)
        self.host = FakeHost()
        self.host.answer = self.gateway.accept  # type: ignore[assignment]
        self.client = HTTP1(self.host)
        self._due: list[Any] = []

    def start(self, permit: object, caller: CallObserver) -> None:
        self.callers.append(caller)

    def at_end(self, work: Any) -> None:
        self._due.append(work)

    when_idle = at_end

    def close_books(self) -> None:
        """End a turn."""
        while self._due:
            due, self._due = self._due, []
            for work in due:
                work()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class Draw:
    """A draw of credit that ends when the test says so."""

    def __init__(self) -> None:
        self.done = trio.Event()

    async def wait(self) -> bool:
        await self.done.wait()
        return True


async def wait_for_credit(world: World, nursery: trio.Nursery) -> Draw:
    """Have an upload wait for credit, as a task of its connection does."""

    def accept(exchange: Exchange) -> None:
        coroutine = world.gateway.accept(exchange)
        assert coroutine is not None
        nursery.start_soon(_run_guarded, exchange, coroutine)

    draw = Draw()
    world.judge.denials = [Denial(Reason.BUDGET_UNAVAILABLE, grant_of(), retry=True)]
    world.judge.relieve = lambda *_: draw  # type: ignore[method-assign, assignment, return-value]
    world.host.answer = accept
    world.client.receive(UPLOAD.replace(b"PUT", b"GET"))
    await trio.testing.wait_all_tasks_blocked()
    return draw


def test_a_body_that_comes_between_two_carriers_waits_for_the_second(world: World) -> None:
    """What arrives while a call waits to be tried again is not given to the carrier that broke."""
    world.client.receive(UPLOAD.replace(b"PUT", b"GET"))
    world.close_books()
    world.close_books()
    (caller,) = world.callers
    first, second = Carrier(), Carrier()
    caller.begun(first)  # type: ignore[arg-type]
    first.touched = True
    assert caller.repeatable
    caller.again()
    world.client.receive(b"3\r\none\r\n")
    caller.begun(second)  # type: ignore[arg-type]
    world.client.receive(b"3\r\ntwo\r\n0\r\n\r\n")
    assert first.sent == b""
    assert second.sent == b"onetwo"
    assert second.ends
    caller.failed(UpstreamError("it broke"))
    world.close_books()
    assert world.judge.permits[0].ended == "settled"  # the first carrier's server may have seen it


def test_a_message_that_arrives_whole_needs_one_verdict(world: World) -> None:
    """The gate is asked about what the message uses, at the end of the turn."""
    message = modern("tools/call", name="read")
    lines = [f"{name}: {value}\r\n" for name, value in headers(message).items()]
    body = encoded(message)
    head = f"Host: a\r\nAuthorization: Bearer good\r\nContent-Length: {len(body)}\r\n"
    world.client.receive(f"POST /mcp/files HTTP/1.1\r\n{head}{''.join(lines)}\r\n".encode())
    world.client.receive(body)
    assert not world.judge.asked
    world.close_books()
    (caller,) = world.callers
    carrier = Carrier()
    caller.begun(carrier)  # type: ignore[arg-type]
    assert (carrier.sent, carrier.ends) == (body, True)
    assert len(world.judge.asked) == 1
    caller.failed(UpstreamError("it broke"))


def test_nothing_of_an_answer_is_sent_twice(world: World) -> None:
    """A call whose answer has begun is not tried again."""
    world.client.receive(GET)
    (caller,) = world.callers
    carrier = Carrier()
    caller.begun(carrier)  # type: ignore[arg-type]
    assert caller.repeatable
    carrier.status, carrier.came = 200, b"half"
    caller.progressed()
    assert not caller.repeatable


def test_an_error_of_ours_leaves_no_call_open(world: World) -> None:
    """A call that cannot even be begun has its record, and its price is given back."""

    def fail(permit: object, caller: CallObserver) -> None:
        raise ZeroDivisionError

    world.start = fail  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        world.client.receive(GET)
    world.close_books()
    assert not world.live
    assert world.judge.permits[0].ended == "released"
    assert [record.outcome for record in world.sink.records] == [CallOutcome.UPSTREAM_ERROR]


def test_a_server_that_takes_no_more_holds_the_client_back(world: World) -> None:
    """What arrives while a carrier has enough stays where the client is held back for it."""

    class Full(Carrier):
        is_full = True

        def send_body(self, data: bytes) -> bool:
            self.sent += data
            return not self.is_full

    world.client.receive(UPLOAD.replace(b"PUT", b"GET"))
    world.close_books()
    (caller,) = world.callers
    carrier = Full()
    caller.begun(carrier)  # type: ignore[arg-type]
    chunk = b"8000\r\n" + bytes(0x8000) + b"\r\n"
    for _ in range(4):
        if not world.client.paused:
            world.client.receive(chunk)
    assert world.client.paused
    assert len(carrier.sent) == 0x8000
    carrier.is_full = False
    caller.writable()
    assert not world.client.paused
    world.client.receive(chunk + b"0\r\n\r\n")
    assert len(carrier.sent) == 4 * 0x8000
    assert carrier.ends


def test_a_small_body_goes_with_its_head(world: World) -> None:
    """What comes in one turn is sent in one piece, with its length, and may be sent again."""
    world.client.receive(UPLOAD.replace(b"PUT", b"GET"))
    assert not world.callers
    world.client.receive(b"3\r\none\r\n0\r\n\r\n")
    world.close_books()
    (caller,) = world.callers
    carrier = Carrier()
    caller.begun(carrier)  # type: ignore[arg-type]
    assert carrier.sent == b"one"
    assert carrier.ends
    assert caller.repeatable


async def test_a_body_that_is_refused_as_its_credit_comes_has_one_record(world: World) -> None:
    """The call that was waiting is woken in the same turn, and does not go on."""
    async with trio.open_nursery() as nursery:
        draw = await wait_for_credit(world, nursery)
        world.host.exchanges[0].body_bytes_max = 5
        draw.done.set()
        world.client.receive(b"6\r\nonetwo\r\n0\r\n\r\n")
    world.close_books()
    assert world.client.out.startswith(b"HTTP/1.1 413 ")
    assert [record.reason for record in world.sink.records] == ["body-too-large"]
    assert not world.callers


async def test_a_call_that_is_refused_after_a_wait_is_forgotten_at_once(world: World) -> None:
    """Its body counts against the memory of all bodies for as long as it is referenced."""
    gc.collect()
    async with trio.open_nursery() as nursery:
        draw = await wait_for_credit(world, nursery)
        world.judge.denials = [Denial(Reason.CREDITS_EXHAUSTED, grant_of())]
        draw.done.set()
    world.client.receive(b"0\r\n\r\n")
    assert world.client.out.startswith(b"HTTP/1.1 403 ")
    world.host.exchanges.clear()
    assert not [each for each in gc.get_objects() if isinstance(each, UndecidedCall)]


@pytest.mark.parametrize("touched", [True, False])
def test_a_body_that_is_refused_on_its_way_is_paid_if_its_server_saw_a_part(
    world: World, touched: bool
) -> None:
    """Otherwise a caller could have a tool work, and pay nothing by sending one byte too many."""
    world.client.receive(UPLOAD.replace(b"PUT", b"GET"))
    world.host.exchanges[0].body_bytes_max = 5
    world.close_books()
    world.close_books()
    (caller,) = world.callers
    carrier = Carrier()
    caller.begun(carrier)  # type: ignore[arg-type]
    world.client.receive(b"3\r\none\r\n")
    carrier.touched = touched
    world.client.receive(b"3\r\ntwo\r\n")
    world.close_books()
    assert world.client.out.startswith(b"HTTP/1.1 413 ")
    assert world.judge.permits[0].ended == ("settled" if touched else "released")
    (record,) = world.sink.records
    assert (record.outcome, record.cost_micro) == (CallOutcome.REFUSED, 10_000 * touched)


async def test_an_error_of_ours_after_a_wait_is_answered(world: World) -> None:
    """What watches the body meanwhile answers nothing else."""
    async with trio.open_nursery() as nursery:
        draw = await wait_for_credit(world, nursery)
        world.sink.ready = lambda: 1 // 0  # type: ignore[method-assign]
        draw.done.set()
    assert world.client.out.startswith(b"HTTP/1.1 500 ")


def test_a_call_that_is_cut_before_its_turn_ends_goes_nowhere(world: World) -> None:
    """It has a record and its price back, and the tool's server never hears of it."""
    world.client.receive(UPLOAD.replace(b"PUT", b"GET"))
    assert world.live.terminate_revoked() == 0
    world.judge.permits[0].revoked = True
    assert world.live.terminate_revoked() == 1
    world.close_books()
    world.close_books()
    assert not world.callers
    assert world.judge.permits[0].ended == "released"
    assert [record.outcome for record in world.sink.records] == [CallOutcome.REVOKED]


def test_a_stream_of_grpc_whose_server_fails_ends_with_a_status(world: World) -> None:
    """Its client hears why in the trailers; a reset would tell it nothing."""
    world.client.receive(GET.replace(b"Host: a", b"Host: a\r\nTE: trailers"))
    (caller,) = world.callers
    carrier = Carrier()
    caller.begun(carrier)  # type: ignore[arg-type]
    carrier.status, carrier.came = 200, b"half"
    carrier.headers = [(b"content-type", b"application/grpc+proto")]
    caller.progressed()
    caller.failed(UpstreamError("it broke"))
    assert b"half" in world.client.out
    assert b"\r\n0\r\ngrpc-status: 14\r\n" in world.client.out
    assert world.client.keep_alive
    world.close_books()
    assert world.sink.records[-1].outcome is CallOutcome.UPSTREAM_ERROR


def test_an_operator_reads_why_calls_failed_and_not_once_for_each(world: World) -> None:
    """Clients hear little. Calls that an open circuit refuses say nothing new."""
    seconds = iter([0.0, 1.0, limits.log_repeat_seconds])
    with logged(RepetitionFilter(now=lambda: next(seconds))) as lines:
        for error in (
            UpstreamError("it broke"),
            UpstreamCircuitOpenError("none answers", 1.0),
            UpstreamError("it is slow"),
            UpstreamError("it broke"),
        ):
            world.client.receive(GET)
            world.callers[-1].failed(error)
            world.close_books()
    assert lines == [
        "upstream tools: a call failed: it broke",
        "upstream tools: a call failed: it broke; 1 more since the last of these lines",
    ]


def test_what_has_no_content_goes_on_without_a_length(world: World) -> None:
    """Neither 1xx nor 204 may say one (RFC 9110 §8.6), nor anything in the gateway's name."""
    world.client.receive(GET)
    (caller,) = world.callers
    carrier = Carrier()
    caller.begun(carrier)  # type: ignore[arg-type]
    fields = [(b"content-length", b"0"), (b"x_crewgate_credits_left", b"9"), (b"x-a", b"b")]
    carrier.hints, carrier.informed = [(103, fields)], True
    carrier.status, carrier.headers, carrier.complete = 204, fields, True
    caller.progressed()
    sent = world.client.bytes_to_send()
    assert sent.startswith(b"HTTP/1.1 103 Early Hints\r\nx-a: b\r\n\r\nHTTP/1.1 204 No Content\r\n")
    assert b"content-length" not in sent
    assert sent.count(b"-left") == sent.count(b"x-crewgate-credits-left: ") == 1
