"""Bodies that pass without Python: the same for client, permit and audit as if Python passed them.

Two calls get the same answers at the same moments. Compiled code may pass on the body of one only.
"""

import socket
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import ngh2
import pytest
from gateway_world import config_of
from h2_upstream import WIDE, Line, Owner, Turns, connected
from http2_pair import HEAD, Pair
from hypothesis import given, settings
from hypothesis import strategies as st
from metered_call import Permit, Services

from crewgate._datapath.body_relay import BodyRelay
from crewgate._datapath.http1_connection import HTTP1Connection
from crewgate.config import UpstreamOrigin
from crewgate.core.audit import records as audit
from crewgate.core.audit.records import CallOutcome
from crewgate.core.pricing.meter import CostMeter
from crewgate.core.pricing.sources import BytesTerm, HeaderTerm, TrailerTerm
from crewgate.core.pricing.tariff import MILLION, Tariff
from crewgate.gateway.call.proxied_call import ProxiedCall
from crewgate.gateway.call.request_pricing import PricedRequest
from crewgate.gateway.call.response_relay import ResponseRelay
from crewgate.gateway.call.undecided_call import UndecidedCall
from crewgate.gateway.routes import build
from crewgate.upstream.interfaces import RequestHead

GET = [(b":method", b"GET"), *HEAD[:1], (b":path", b"/pages/a"), *HEAD[2:]]
TARIFFS: dict[str, Tariff | None] = {
    "fixed price": None,
    "steps": Tariff(0, 50_000, response=(BytesTerm(MILLION),), step=1000),
    "small steps": Tariff(3, 5000, response=(BytesTerm(MILLION // 3),), step=7),
    "bytes at once": Tariff(0, 9000, response=(BytesTerm(MILLION),)),
    "a header": Tariff(0, 900, response=(HeaderTerm(MILLION, ("x-cost",)),)),
    "a trailer": Tariff(1, 900, response=(TrailerTerm(MILLION, ("x-cost",)),)),
    "read to its end": Tariff(
        1, 900, response=(TrailerTerm(MILLION, ("x-cost",)),), on_disconnect="drain"
    ),
    "bytes and a header": Tariff(
        0, 9000, response=(BytesTerm(2 * MILLION), HeaderTerm(1, ("x-cost",))), step=500
    ),
}


class _Owner(Owner):
    def broke(self, connection: object, caller: Any, error: Any, fate: object) -> None:
        self.left_times += 1
        caller.failed(error)


class Lane:
    """A call between a client of HTTP/2 and a server of HTTP/1.1, both of which a test plays."""

    def __init__(
        self, folder: Path, tariff: Tariff | None, framing: str, *, straight: bool
    ) -> None:
        config = config_of(UpstreamOrigin("http", "tool", 80), folder)
        config = msgspec.structs.replace(
            config, limits=msgspec.structs.replace(config.limits, straight=straight)
        )
        self.upstream = config.upstreams[0]
        site = build(config, {"tools": self})  # type: ignore[dict-item]
        self.pair = Pair()
        self.stream = self.pair.ask(GET)
        (exchange,) = self.pair.host.exchanges
        entry = site.find(b"GET", b"/pages/a", b"a")
        assert entry is not None
        self.services, self.permit = Services(), Permit()
        self.permit.lease, self.permit.price_micro = 10_000, 0
        priced = None if tariff is None else PricedRequest(CostMeter(tariff), None, None)
        if tariff is not None:
            self.permit.price_micro = CostMeter(tariff).bound
        described = audit.CallInfo(1, bytes(16), "agents", "192.0.2.0/24", "pages.get", "GET")
        pending = UndecidedCall(exchange, site, entry, b"", None, [], described, priced=priced)
        head = RequestHead(b"GET", b"/pages/a", None)
        self.call = ProxiedCall(self.services, pending, entry, head, self.permit)  # type: ignore[arg-type]
        self.turns = Turns()
        self.connection, self.theirs = connected(HTTP1Connection, self.turns, _Owner())
        self.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
        self.connection.carry(self.call)
        self.turns.take()
        self.framing = framing
        self.unsent = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Cost: 20\r\n"
        self.unsent += {
            "chunked": b"Transfer-Encoding: chunked\r\n\r\n",
            "length": b"Content-Length: 30000\r\n\r\n",
            "close": b"Connection: close\r\n\r\n",
        }[framing]
        self.deliver()

    def deliver(self, *cuts: int) -> None:
        """The server sends what it has to, in pieces that end at these bytes."""
        data, self.unsent = self.unsent, b""
        for begin, end in pairwise([0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]):
            with suppress(OSError):  # the gateway has closed the connection
                sent = self.theirs.send(data[begin:end])
                if sent < end - begin:  # the client does not read: the rest comes later
                    self.turns.take()
                    self.unsent = data[begin + sent :]
                    return
            self.turns.take()

    # What may happen.

    def send(self, data: bytes, cuts: list[int]) -> None:
        self.unsent += b"%x\r\n%b\r\n" % (len(data), data) if self.framing == "chunked" else data
        self.deliver(*cuts)

    def read(self) -> None:
        self.pair.pump()
        self.turns.take()

    def draw(self, status: str, credit: int) -> None:
        self.permit.lease += credit
        for pause in list(self.services.pauses):
            self.services.pauses.remove(pause)
            pause()
        if self.call._metering is not None and self.call._metering._top_up.asking:
            self.services.done(status, used=1, quota=2)

    def end(self, trailers: bytes) -> None:
        if self.framing == "chunked":
            self.unsent += b"0\r\n" + trailers + b"\r\n"
        self.deliver()
        if self.framing == "close":
            self.leave()

    def leave(self) -> None:
        self.theirs.close()
        self.turns.take()

    def reset(self) -> None:
        with suppress(ngh2.NGH2Error):
            self.pair.client.reset_stream(self.stream)
        self.pair.pump()

    def lose(self) -> None:
        """The client does not read, and its stream is to be reset, which is not sent yet."""
        self.call.exchange.lose()

    def revoke(self) -> None:
        self.call.end(CallOutcome.REVOKED)

    @property
    def seen(self) -> tuple[Any, ...]:
        """What client, server, ledger and audit know, without what differs by chance."""
        body = self.call.response.body
        lines = [{**line, "duration_us": 0} for line in self.services.lines]
        return (
            [repr(each) for each in self.pair.events if type(each) is not ngh2.DataReceived],
            b"".join(event.data for event in self.pair.of(ngh2.DataReceived)),
            (self.permit.price_micro, self.permit.lease, self.services.needs),
            (self.services.landings, self.services.overruns, lines),
            (self.call.outcome, body.bytes_out, body.between_events),
            (self.connection.deadline == float("inf"), self.connection.is_idle),
        )

    def close(self) -> None:
        self.call.end(CallOutcome.CANCELLED)
        with suppress(OSError):
            self.theirs.close()
        self.connection.abort()


TEXT = st.one_of(
    st.sampled_from([b"data: 1\n\n", b": \r\n\r\n", b"\n", b"\r", b"data: 2\n"]),
    st.integers(1, 70_000).map(lambda size: b"#" * size),
)
STEP = st.one_of(
    st.tuples(st.just("send"), TEXT, st.lists(st.integers(0, 1000), max_size=3)),
    st.tuples(st.just("send"), TEXT, st.lists(st.integers(0, 1000), max_size=3)),
    st.tuples(st.just("read")),
    st.tuples(
        st.just("draw"),
        st.sampled_from(["granted", "granted", "granted", "exhausted", "closed", ""]),
        st.integers(0, 5000),
    ),
)
LAST = st.one_of(
    st.tuples(st.just("end"), st.sampled_from([b"", b"x-cost: 40\r\n", b"x-cost: no\r\n"])),
    st.tuples(st.sampled_from(["leave", "reset", "lose", "revoke"])),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("relay")


@settings(max_examples=150)
@given(
    tariff=st.sampled_from(sorted(TARIFFS)),
    framing=st.sampled_from(["chunked", "length", "close"]),
    steps=st.lists(STEP, max_size=14),
    last=LAST,
)
def test_bodies_pass_the_same_both_ways(
    folder: Path, tariff: str, framing: str, steps: list[tuple[Any, ...]], last: tuple[Any, ...]
) -> None:
    """Whatever comes, and whenever it comes: each step has the same effects."""
    lanes = [Lane(folder, TARIFFS[tariff], framing, straight=each) for each in (True, False)]
    after = [("send", b"data: 3\n\n", []), ("read",), ("end", b"x-cost: 30\r\n"), ("read",)]
    try:
        for name, *given_ in [*steps, ("read",), last, *after]:
            for lane in lanes:
                getattr(lane, name)(*given_)
            assert lanes[0].seen == lanes[1].seen, name
    finally:
        for lane in lanes:
            lane.close()


@pytest.fixture
def python_reads(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Has an item for each time that Python passes on a part of a body."""
    reads: list[None] = []
    relay = ResponseRelay.relay
    monkeypatch.setattr(
        ResponseRelay, "relay", lambda self, call: (reads.append(None), relay(self, call))
    )
    return reads


@pytest.mark.parametrize(
    ("tariff", "expected"),
    [("fixed price", 0), ("a trailer", 0), ("steps", 1 + 8), ("bytes at once", 0)],
)
def test_python_passes_on_only_what_may_cost_something(
    folder: Path, python_reads: list[None], tariff: str, expected: int
) -> None:
    """Of events that cost 10 each: the first, with the head, and one for each step of 1000."""
    with closing(Lane(folder, TARIFFS[tariff], "chunked", straight=True)) as lane:
        python_reads.clear()
        for _ in range(800):
            lane.send(b"data: 13\n\n", [])
            lane.read()
        assert len(lane.pair.of(ngh2.DataReceived)) == 800
        assert len(python_reads) == expected


def test_a_client_that_does_not_read_stops_its_server(
    folder: Path, python_reads: list[None]
) -> None:
    """Python passes on the piece that fills the buffer, and waits for the client."""
    with closing(Lane(folder, None, "chunked", straight=True)) as lane:
        python_reads.clear()
        piece = b"#" * 10_000
        for _ in range(20):
            lane.send(piece, [])
        assert len(python_reads) == 1
        assert lane.call.response.body.bytes_out == 7 * len(piece)
        assert lane.connection.deadline == float("inf")
        for _ in range(20):
            lane.read()
        assert len(b"".join(event.data for event in lane.pair.of(ngh2.DataReceived))) == 200_000


def test_a_body_from_a_server_of_http2_passes_too() -> None:
    """The caller hears of its head and its end. The windows open for what the client is sent."""
    line = Line(WIDE)
    call, pair, body = line.call(), Pair(), BodyRelay()
    line.exchange()
    line.server.send_response(1, [(b":status", b"200")])
    line.exchange()
    pair.ask(GET)
    (exchange,) = pair.host.exchanges
    exchange.start(200, [])
    assert exchange.relay_to(body)
    body.bytes_allowed = 150_000
    call.carrier.relay_to(body)
    told = call.told
    for _ in range(15):
        line.server.send_data(1, b"#" * 10_000)
        line.exchange()
        pair.pump()
    assert (call.told, call.body, body.bytes_out) == (told, b"", 150_000)
    line.server.send_data(1, b"more", end_stream=True)
    line.exchange()
    assert (call.told, call.body) == (told + 1, b"more")
    assert b"".join(event.data for event in pair.of(ngh2.DataReceived)) == b"#" * 150_000
    line.close()
