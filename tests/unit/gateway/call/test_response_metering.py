"""A call that is paid for as its answer comes, without sockets: what it does while credit lacks."""

import json
from pathlib import Path

import msgspec
import pytest
from fake_host import FakeHost
from gateway_world import config_of
from metered_call import Permit, Services
from upstream_work import work

from crewgate import limits
from crewgate.config import UpstreamOrigin
from crewgate.core.audit import records as audit
from crewgate.core.audit.records import CallOutcome
from crewgate.core.pricing.meter import CostMeter
from crewgate.core.pricing.sources import BytesTerm, HeaderTerm
from crewgate.core.pricing.tariff import MILLION, Tariff
from crewgate.gateway.call.proxied_call import ProxiedCall
from crewgate.gateway.call.request_pricing import PricedRequest
from crewgate.gateway.call.undecided_call import UndecidedCall
from crewgate.gateway.routes import build
from crewgate.server.http1 import HTTP1
from crewgate.upstream.interfaces import RequestHead

GET = b"GET /pages/a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer good\r\nTE: trailers\r\n\r\n"
BYTES = Tariff(0, 1000, response=(BytesTerm(MILLION),), step=10)  # one for each
STATED = Tariff(0, 50_000, response=(HeaderTerm(MILLION, ("x-cost",)),))
CHARGED = Tariff(0, 50_000, response=(HeaderTerm(MILLION, ("x-cost",)),), on_overrun="charge")
ID = bytes(range(16))


class Carrier:
    """An answer of which `came` has come."""

    def __init__(self) -> None:
        self.touched = True
        self.complete = self.informed = self.paused = False
        self.releases = 0
        self.status = 200
        self.headers: list[tuple[bytes, bytes]] = []
        self.trailers: list[tuple[bytes, bytes]] = []
        self.came = b""
        self.answer = self

    def begin(self, head: RequestHead, body: bytes, *, ends: bool) -> bool:
        return True

    def take(self) -> bytes:
        came, self.came = self.came, b""
        return came

    def release(self) -> None:
        self.releases += 1

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


class World:
    """A call whose answer has begun, all paid for so far."""

    def __init__(
        self,
        folder: Path,
        tariff: Tariff = BYTES,
        *headers: tuple[bytes, bytes],
        price: int = 0,
        first: bytes = b"#" * 30,
    ) -> None:
        config = config_of(UpstreamOrigin("http", "tool", 80), folder)
        self.upstream = config.upstreams[0]
        site = build(config, {"tools": self})  # type: ignore[dict-item]
        host = FakeHost()
        self.client = HTTP1(host)
        self.client.receive(GET)
        (exchange,) = host.exchanges
        entry = site.find(b"GET", b"/pages/a", b"a")
        assert entry is not None
        self.services, self.permit, self.carrier = Services(), Permit(), Carrier()
        described = audit.CallInfo(1, ID, "agents", "192.0.2.0/24", "pages.get", "GET")
        head = RequestHead(b"GET", b"/pages/a", None)
        priced = PricedRequest(CostMeter(tariff), None, None)
        pending = UndecidedCall(exchange, site, entry, b"", None, [], described, priced=priced)
        self.call = ProxiedCall(self.services, pending, entry, head, self.permit)  # type: ignore[arg-type]
        self.permit.lease, self.permit.price_micro = 30, price
        self.carrier.headers += headers
        self.carrier.complete = not first
        self.call.begun(self.carrier)  # type: ignore[arg-type]
        self.come(first)

    def come(self, data: bytes) -> None:
        self.carrier.came += data
        self.call.progressed()

    def sent(self) -> int:
        return self.said().count(b"#")

    def said(self) -> bytes:
        return self.client.bytes_to_send()


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    assert world.sent() == 30
    return world


def test_a_stream_waits_for_an_agent_that_is_away(world: World) -> None:
    """No answer is no refusal: the stream stands still, asks in a while, and goes on."""
    world.come(b"#" * 30)
    assert world.carrier.paused
    for _ in range(10):
        world.services.done("")
        while not world.services.pauses:
            world.services.done("")
        assert not world.call.over
        world.services.pauses.pop()()
    world.permit.lease = 100
    world.services.done("granted")
    assert world.sent() == 30
    assert not world.carrier.paused
    assert not world.call.over


def test_a_stream_that_ends_while_it_waits_asks_no_more(world: World) -> None:
    """Its client has gone, or its branch was revoked: the pause is taken back."""
    world.come(b"#" * 30)
    while not world.services.pauses:
        world.services.done("")
    world.call.end(CallOutcome.REVOKED)
    assert world.services.pauses == []
    world.services.done("granted")
    assert world.services.landings == [30]


def test_a_stream_without_credit_is_cut_where_it_ends(world: World) -> None:
    """The last whole step is not to be had, and less is not either."""
    registry = world.services.work
    registry.add(work("task", world.permit))  # type: ignore[arg-type]
    world.come(b"#" * 30)
    world.services.done("exhausted")
    world.services.done("exhausted")
    assert world.call.over
    assert world.services.landings == [30]
    assert len(registry) == 0, "what the branch can no longer pay for goes on at the server"


def test_a_stream_that_nobody_vouches_for_waits_and_goes_on(world: World) -> None:
    """Credit in the lease does not help it, and none is drawn, until somebody does again."""
    world.permit.lease = 100
    world.permit.is_current = False
    world.come(b"#" * 30)
    assert (world.sent(), world.carrier.paused, world.services.needs) == (0, True, [])
    world.permit.is_current = True
    world.services.pauses.pop()()
    assert world.services.needs == [30]
    world.services.done("granted")
    assert world.sent() == 30
    assert not world.carrier.paused


@pytest.mark.parametrize("taken", [False, True], ids=["to the end", "credit taken by others"])
def test_a_stream_that_nobody_vouched_for_in_time_is_told_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    """It is no matter of its budget, whatever may come in between."""
    events = (b"content-type", b"text/event-stream")
    world = World(tmp_path, BYTES, events, first=b"data: " + b"#" * 22 + b"\n\n")
    world.said()
    world.permit.is_current = False
    if not taken:
        monkeypatch.setattr(limits, "stream_wait_seconds_max", 0)
    world.come(b"data: " + b"#" * 22 + b"\n\n")
    if taken:
        world.permit.is_current = True
        world.services.pauses.pop()()
        world.call._metering._top_up._until = 0
        world.services.done("granted")
    assert world.call.over
    assert b"revocation-unavailable" in world.said()


def test_an_overrun_is_told_with_the_id_of_its_call(tmp_path: Path) -> None:
    """By which it is known again when it is told again."""
    world = World(tmp_path, STATED, (b"x-cost", b"70"))
    world.carrier.complete = True
    world.call.progressed()
    assert world.call.over
    assert world.services.overruns == [(ID, 70)]


def test_what_is_left_is_said_again_once_it_is_known(tmp_path: Path) -> None:
    """At the head it lacks all that the call holds, which is said there; the rest comes back."""
    world = World(tmp_path, STATED, (b"x-cost", b"20000"), price=50_000)
    head = world.said().lower()
    assert b"x-crewgate-credits-left: 0.09\r\n" in head
    assert b"x-crewgate-credits-reserved: 0.05\r\n" in head
    assert b"-used" not in head
    world.carrier.complete = True
    world.call.progressed()
    tail = world.said().lower().partition(b"0\r\n")[2]
    assert b"x-crewgate-credits-left: 0.12\r\n" in tail
    assert b"x-crewgate-credits-used: 0.02\r\n" in tail


def test_what_the_agent_has_burned_does_not_come_back(tmp_path: Path) -> None:
    """All that was reserved is charged then."""
    world = World(tmp_path, STATED, (b"x-cost", b"20000"), price=50_000)
    world.said()
    world.permit.ended = "burned"
    world.carrier.complete = True
    world.call.progressed()
    assert b"x-crewgate-credits-left: 0.09\r\n" in world.said().lower()


def test_an_answer_that_is_all_head_says_there_what_it_cost(tmp_path: Path) -> None:
    """HTTP/2 would end the stream with it: no trailers follow."""
    world = World(tmp_path, STATED, (b"x-cost", b"20000"), price=50_000, first=b"")
    head = world.said().lower()
    assert b"x-crewgate-credits-left: 0.12\r\n" in head
    assert b"x-crewgate-credits-used: 0.02\r\n" in head
    assert b"-reserved" not in head
    assert world.services.landings == [20_000]


def test_the_last_event_of_a_stream_says_what_is_missing(tmp_path: Path) -> None:
    """In the members that a refusal has, as the ledger told them."""
    events = (b"content-type", b"text/event-stream")
    world = World(tmp_path, BYTES, events, first=b"data: " + b"#" * 22 + b"\n\n")
    world.said()
    world.come(b"data: " + b"#" * 22 + b"\n\n")
    assert world.services.needs == [30]
    world.services.done("exhausted", level="article", used=9_990_000, quota=10_000_000)
    assert world.call.over
    problem = json.loads(world.said().partition(b"event: error\ndata: ")[2].splitlines()[0])
    assert (problem["level"], problem["used_credits"]) == ("article", "9.99")
    assert (problem["left_credits"], problem["needed_credits"]) == ("0.01", "0.00003")


def overrun(folder: Path, lease: int, left: int = 1000) -> World:
    """A call that has 50 reserved and stated 120, by which its answer ends.

    `left` is what this machine knows of the branch.
    """
    world = World(folder, CHARGED, (b"x-cost", b"120"), price=50)
    world.permit.lease, world.permit.branch_unspent_micro = lease, left
    world.carrier.complete = True
    world.call.progressed()
    return world


def test_an_overrun_is_charged_out_of_the_lease(tmp_path: Path) -> None:
    """At once, and the trailers say it; no overrun is reported, and the branch goes on."""
    world = overrun(tmp_path, 70)
    assert world.call.over
    assert (world.services.landings, world.services.overruns, world.services.needs) == (
        [120],
        [],
        [],
    )
    assert b"x-crewgate-credits-used: 0.00012\r\n" in world.said().lower()


def test_what_the_lease_lacks_is_drawn_for_it(tmp_path: Path) -> None:
    """The client has its whole answer meanwhile; the call lands once it is paid."""
    world = overrun(tmp_path, 10)
    assert world.said().endswith(b"\r\n\r\n")
    assert not world.call.over
    assert (world.services.needs, world.services.landings) == ([70], [])
    world.call.progressed()  # what is heard again changes nothing
    world.permit.lease = 80
    world.services.done("granted")
    assert world.call.over
    assert (world.services.landings, world.services.overruns) == ([120], [])


def test_of_what_a_branch_cannot_pay_all_that_it_has_is_charged(tmp_path: Path) -> None:
    """The rest is reported as overrun, and its branch is ended for it."""
    world = overrun(tmp_path, 10)
    world.services.done("exhausted", level="article", used=60, quota=100)
    assert world.services.needs == [70, 40]
    world.permit.lease, world.permit.branch_unspent_micro = 40, 0
    world.services.done("granted")
    assert (world.services.landings, world.services.overruns) == ([100], [(ID, 20)])
    assert world.permit.lease == 0


def test_what_is_known_to_be_left_is_asked_for_at_once(tmp_path: Path) -> None:
    """The ledger would have more wait for what calls in flight may give back: this one's own."""
    world = overrun(tmp_path, 10, left=40)
    assert world.services.needs == [40]
    world.permit.lease = 40
    world.services.done("granted")  # and somebody has given back 25
    assert (world.services.needs, world.services.landings) == ([40, 30], [])
    world.permit.lease, world.permit.branch_unspent_micro = 25, 0
    world.services.done("granted")
    assert (world.services.landings, world.services.overruns) == ([115], [(ID, 5)])


def test_a_branch_whose_credit_comes_and_goes_is_asked_for_so_often_and_no_more(
    tmp_path: Path,
) -> None:
    """However much credit the answers say is left."""
    world = overrun(tmp_path, 0)
    for _ in range(limits.overrun_draws_max):
        assert not world.call.over
        world.permit.lease = 1
        world.services.done("granted")
    assert (world.services.landings, world.services.overruns) == ([53], [(ID, 67)])


@pytest.mark.parametrize("lease", [0, 1, 5, 31, 32, 33, 63, 64, 69])
def test_whatever_a_lease_has_is_taken_to_the_last(tmp_path: Path, lease: int) -> None:
    """Others may take of it at any time, so how much that is cannot be known beforehand."""
    world = overrun(tmp_path, lease)
    world.services.done("exhausted", used=100, quota=100)
    assert (world.permit.lease, world.services.landings) == (0, [50 + lease])
    assert world.services.overruns == [(ID, 70 - lease)]


@pytest.mark.parametrize("said", ["exhausted", "closed", "mismatch"])
def test_a_branch_that_has_nothing_left_is_ended(tmp_path: Path, said: str) -> None:
    """What its lease has left is charged."""
    world = overrun(tmp_path, 10)
    world.services.done(said, used=100, quota=100)
    assert (world.services.needs, world.services.landings) == ([70], [60])
    assert world.services.overruns == [(ID, 60)]


@pytest.mark.parametrize(
    "outcome", [CallOutcome.CANCELLED, CallOutcome.REVOKED, CallOutcome.EXPIRED]
)
def test_an_end_that_comes_meanwhile_waits_for_nothing(
    tmp_path: Path, outcome: CallOutcome
) -> None:
    """Of a worker, or by a revocation: the call lands as done, with what the lease has."""
    world = overrun(tmp_path, 10)
    assert world.call.end(outcome)
    assert world.call.over
    assert (world.services.landings, world.services.overruns) == ([60], [(ID, 60)])
    assert [(line["outcome"], line["status"]) for line in world.services.lines] == [("done", 200)]
    assert not world.call.end(outcome)
    world.services.done("granted")
    assert world.services.landings == [60]


@pytest.mark.parametrize(
    "outcome",
    [CallOutcome.CANCELLED, CallOutcome.REVOKED, CallOutcome.EXPIRED, CallOutcome.UPSTREAM_ERROR],
)
def test_an_answer_that_is_cut_is_not_heard_until_its_overrun_is_paid(
    tmp_path: Path, outcome: CallOutcome
) -> None:
    """It ends at once, is counted once, and is charged what the lease has."""
    world = World(tmp_path, CHARGED, (b"x-cost", b"120"), price=50)
    world.permit.lease = 10
    assert world.sent() == 30
    assert world.call.end(outcome)
    assert world.call.over
    world.come(b"#" * 10)
    assert world.sent() == 0
    assert not world.call.end(outcome)
    assert (world.services.needs, world.services.landings) == ([], [60])
    assert (world.services.overruns, world.carrier.releases) == ([(ID, 60)], 1)
    assert world.services.lines[0]["outcome"] == outcome.value


def test_a_client_that_goes_has_its_answer_cut_at_once_unless_it_is_drained(
    tmp_path: Path,
) -> None:
    """Nothing more is heard then, so that nothing is waited for."""
    world = World(tmp_path, CHARGED, (b"x-cost", b"120"), price=50)
    world.call.lost()
    assert world.call.over
    assert (world.services.needs, world.services.landings) == ([], [80])


def test_a_server_is_let_go_while_the_overrun_of_its_answer_is_owed(tmp_path: Path) -> None:
    """Its connection is another call's, and what comes on it is not kept for this one."""
    world = overrun(tmp_path, 10)
    assert (world.carrier.releases, world.call.over) == (1, False)
    world.come(b"surplus")
    world.call.drained()
    assert world.carrier.came == b"surplus"
    world.permit.lease = 80
    world.services.done("granted")
    assert world.carrier.releases == 1
    assert (world.services.landings, world.services.lines[0]["status"]) == ([120], 200)


@pytest.mark.parametrize("cancelled", [True, False])
def test_what_a_client_that_has_gone_owes_is_drawn_for_as_well(
    tmp_path: Path, *, cancelled: bool
) -> None:
    """Once its answer was heard to the end; the server is let go, and the worker may end."""
    drained = msgspec.structs.replace(CHARGED, on_disconnect="drain")
    world = World(tmp_path, drained, (b"x-cost", b"120"), price=50)
    world.permit.lease, world.permit.branch_unspent_micro = 10, 1000
    world.call.lost()
    assert (world.call.over, world.carrier.releases) == (False, 0)
    world.carrier.complete = True
    world.call.progressed()
    assert (world.services.needs, world.carrier.releases) == ([70], 1)
    (times_up,) = world.services.pauses
    times_up()  # heard again, changes nothing
    assert not world.services.landings
    if cancelled:
        assert world.call.end(CallOutcome.CANCELLED)
    else:
        world.permit.lease = 80
        world.services.done("granted")
    assert world.services.landings == [60 if cancelled else 120]
    assert world.services.lines[0]["outcome"] == CallOutcome.CLIENT_GONE.value


def test_what_is_only_observed_is_never_charged_more(tmp_path: Path) -> None:
    """Nor is its branch ended."""
    world = World(tmp_path, CHARGED, (b"x-cost", b"120"), price=50)
    world.permit.in_observe_mode, world.permit.lease = True, 100
    world.carrier.complete = True
    world.call.progressed()
    assert (world.services.landings, world.services.overruns) == ([50], [])
