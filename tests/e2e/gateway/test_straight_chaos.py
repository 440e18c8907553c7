"""Straight calls while clients, tools and operators end them: each has one record and one price.

Revocations arrive through the table alone, and the agent forgets the worker or makes another table.
"""

import random
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import trio
from gate_world import GEOMETRY
from gated_gateway import GatedGateway, gated_gateway
from hpack import Encoder
from http2_frames import ACKNOWLEDGED, Frames, head
from hyperframe.frame import DataFrame, GoAwayFrame, RstStreamFrame
from msgspec import structs
from scripted_http2 import Piece
from search_depth import deep

from crewgate import limits
from crewgate._datapath.revocation_watch import RevocationWatch
from crewgate._native.table_owner import OwnedTable
from crewgate.config import Config
from crewgate.core import ids
from crewgate.core.audit.records import CallRecord
from crewgate.core.ids import EntityKind
from crewgate.errors import TableFullError

ROUNDS, CLIENTS, CALLS = deep(8), 3, 12
PRICE = 7
CREDIT = 2_000_000
LEAVES = 0.1
BRANCHES = [f"0199c1d2-0000-7000-8000-0000000000{number}" for number in (11, 12)]
_ID = re.compile(r"x-crewgate-request: (\S+)")
_REQUESTS = re.compile(r"crewgate_requests_total\{(.*)\} (\d+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
WHOLE = (
    OK,
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n" + b"x" * 30_000,
    b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK,
    OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1),
)
Fields = list[tuple[bytes, bytes]]


def _head(*flags: str, status: bytes = b"200", fields: Fields | None = None) -> Piece:
    return lambda number: head(number, [(b":status", status), *(fields or [])], *flags)


def _data(body: bytes, *flags: str) -> Piece:
    return lambda number: DataFrame(number, body, flags=flags).serialize()


_TWO = _head(fields=[(b"content-length", b"2")])
_LAST_STREAM = 2**31 - 1
# Frames of answers, and what a server may send instead of the rest of one.
WHOLE_HTTP2: tuple[tuple[Piece, ...], ...] = (
    (_TWO, _data(b"o"), _data(b"k", "END_STREAM")),
    (_head("END_STREAM", status=b"204"),),
    (_head(), _data(b"o"), _data(b"k"), _data(b"", "END_STREAM")),
    (_head(), _data(b"x" * 16_000), _data(b"x" * 14_000, "END_STREAM")),
    (_head(status=b"103"), _TWO, _data(b"ok", "END_STREAM")),
    (_head(), _data(b"ok"), lambda number: head(number, [(b"x-sum", b"1")], "END_STREAM")),
)
ENDS_HTTP2: tuple[Piece, ...] = (
    lambda number: RstStreamFrame(number, error_code=2).serialize(),
    lambda number: RstStreamFrame(number, error_code=0).serialize(),
    lambda _: GoAwayFrame(0, last_stream_id=_LAST_STREAM).serialize(),
    lambda _: GoAwayFrame(0, last_stream_id=_LAST_STREAM, error_code=2).serialize(),
)


def _cheap(config: Config) -> Config:
    tools = tuple(structs.replace(tool, price=PRICE) for tool in config.tools)
    return structs.replace(config, tools=tools)


class _Answers:
    """What the tool does with a request: it answers, waits, stops in the middle, or leaves."""

    def __init__(self, choose: random.Random) -> None:
        self._choose = choose

    def __iter__(self) -> Iterator[bytes]:
        choose = self._choose
        answer = choose.choice(WHOLE) if choose.random() < 0.4 else OK
        yield from [b""] * choose.choice((0, 0, 0, 3, 30))
        kind = choose.random()
        if kind < 0.1:  # it leaves, in the middle of the answer or before it
            yield answer[: choose.randrange(len(answer))]
            raise trio.BrokenResourceError
        cut = choose.randrange(len(answer)) if kind < 0.3 else 0
        yield answer[:cut]
        yield from [b""] * (choose.randrange(20) if cut else 0)
        yield answer[cut:] + (b"?" if kind > 0.98 else b"")


class _Frames:
    """The same over HTTP/2, where a server may also reset a stream, or announce that it leaves."""

    def __init__(self, choose: random.Random) -> None:
        self._choose = choose

    def __iter__(self) -> Iterator[Piece]:
        choose = self._choose
        answer = choose.choice(WHOLE_HTTP2) if choose.random() < 0.4 else WHOLE_HTTP2[0]
        yield from [_nothing] * choose.choice((0, 0, 0, 3, 30))
        kind = choose.random()
        cut = choose.randrange(len(answer)) if kind < 0.3 else 0
        yield _joined(answer[:cut])
        if kind < 0.02:
            raise trio.BrokenResourceError
        if kind < 0.1:
            yield choose.choice(ENDS_HTTP2)
        yield from [_nothing] * (choose.randrange(20) if cut else 0)
        yield _joined(answer[cut:])


def _nothing(_: int) -> bytes:
    return b""


def _joined(pieces: Sequence[Piece]) -> Piece:
    return lambda number: b"".join([piece(number) for piece in pieces])


class _Chaos:
    """The clients of one gateway, and what ends their calls."""

    def __init__(self, site: GatedGateway, seed: int) -> None:
        self.site, self.world = site, site.world
        self.choose = random.Random(seed)
        self.tokens = [self.mint(branch) for branch in BRANCHES]
        self.tables = [site.house.table]
        self.burned: Counter[str] = Counter()  # by the id of the request
        self.draw()
        self.pool = self.world.gateway.routes.entries[0].pool
        self.sweeps = self.looks = 0
        self.over = False
        self.watch = RevocationWatch(lambda: bool(self.world.live), self.end_revoked)
        self.watch.use(site.house.table)
        site.world.gateway._services.poller.check_each_turn(self.watch)

    def mint(self, branch: str) -> bytes:
        """Return another token of a branch."""
        patterns = ["summary.*", "search.*"]
        return self.site.token(patterns, execution_branch_id=branch, jti=str(uuid4())).encode()

    def draw(self) -> None:
        """Draw enough credit that no call has to."""
        for token in self.tokens:
            permit = self.site.house.permit(token)
            self.site.house.draw(permit.grant, CREDIT)
            permit.release()

    def requests(self, first: int, encoder: Encoder) -> bytes:
        """Some requests, of which some are reset at once."""
        choose, wire = self.choose, b""
        for number in range(first, first + 2 * CALLS, 2):
            has_body = choose.random() < 0.3
            fields = [
                (b":method", b"POST" if has_body else b"GET"),
                (b":scheme", b"https"),
                (b":path", b"/search" if has_body else b"/summary"),
                (b":authority", b"gateway.example"),
                (b"authorization", b"Bearer " + choose.choice(self.tokens)),
            ]
            flags = () if has_body else ("END_STREAM",)
            wire += head(number, fields, *flags, encoder=encoder)
            if has_body:
                wire += DataFrame(number, b"{}", flags=["END_STREAM"]).serialize()
            if choose.random() < 0.05:
                wire += RstStreamFrame(number, error_code=8).serialize()
        return wire

    async def client(self) -> None:
        """Ask on one connection after another, and leave each of them in some way."""
        choose = self.choose
        for _ in range(ROUNDS):
            stream = await self.world.edge.connect("h2")
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await stream.send_all(ACKNOWLEDGED)
                frames, encoder, first = Frames(stream), Encoder(), 1
                for _ in range(choose.choice((1, 1, 3))):
                    await stream.send_all(self.requests(first, encoder))
                    await self.read(stream, frames, first)
                    first += 2 * CALLS
                if choose.random() < 0.2:
                    await stream.send_all(GoAwayFrame(0).serialize())
            await trio.aclose_forcefully(stream)

    async def read(self, stream: trio.SSLStream, frames: Frames, first: int) -> None:
        """Read the answers to some requests, or not all of them; reset some."""
        open_streams = set(range(first, first + 2 * CALLS, 2))
        enough = self.choose.choice((0, 0, 0, 5, CALLS))
        while len(open_streams) > enough:
            frame = await frames.next()
            if frame is None:
                return
            if "END_STREAM" in frame.flags or type(frame) is RstStreamFrame:
                open_streams.discard(frame.stream_id)
            if open_streams and self.choose.random() < 0.02:
                reset = open_streams.pop()
                await stream.send_all(RstStreamFrame(reset, error_code=8).serialize())

    async def rage(self) -> None:
        """End calls, connections and configurations, again and again."""
        acts = [self.cut, self.sweep, self.reload, self.drop, self.leave, self.revoke, self.restart]
        while not self.over:
            for _ in range(self.choose.randrange(1, 60)):
                await trio.lowlevel.checkpoint()
            self.choose.choice(acts)()
            self.watch.start()  # as the first call in flight does

    def cut(self) -> None:
        """End the calls of a branch, which may call again."""
        key = ids.branch_key("article", self.choose.choice(BRANCHES))
        self.world.live.terminate([key])

    def revoke(self) -> None:
        """Revoke a token in the table, whose push to the worker is lost; its branch gets another.

        The poller's watch finds it in the next turn. On a slow machine, the clients take long, and
        the table gets full.
        """
        at = self.choose.randrange(len(self.tokens))
        permit = self.site.house.permit(self.tokens[at])
        grant = permit.grant.claims.jti.encode()
        permit.release()
        with suppress(TableFullError):
            self.site.house.revoke(EntityKind.GRANT, grant)
            self.tokens[at] = self.mint(BRANCHES[at])

    def restart(self) -> None:
        """Now and then, restart the agent, which forgets the worker, or makes another table."""
        if self.choose.random() > LEAVES:
            return
        is_moved, house = self.choose.random() < 0.5, self.site.house
        table = OwnedTable.private(GEOMETRY) if is_moved else None
        self.burned.update(str(UUID(bytes=each.request)) for each in house.reattach(table))
        self.world.judge.gate = house.gate  # type: ignore[attr-defined]
        self.watch.use(house.table)
        self.world.live.terminate_revoked()
        if table is not None:
            self.tables.append(table)
            self.draw()

    def sweep(self) -> None:
        """Do what is done each second; the ninth time each call upstream is late."""
        self.sweeps += 1
        late = 1000 if self.sweeps == 9 else 0
        self.pool.sweep(time.monotonic() + late)
        self.world.live.sweep(time.time(), self.site.house.boot_ns)

    def reload(self) -> None:
        """Replace the routes by equal ones."""
        self.world.gateway.routes = structs.replace(self.world.gateway.routes)

    def drop(self) -> None:
        """Have the tool close the connection of the next request."""
        self.site.drops = 1

    def leave(self) -> None:
        """Now and then, drain or abort each connection of a client, or end all calls."""
        if self.choose.random() > LEAVES:
            return
        if self.choose.random() < LEAVES:
            self.world.live.end_all()
        for connection in list(self.world.edge.listener.connections):
            if connection.protocol is None:  # its client still shakes hands
                continue
            if self.choose.random() < 0.5:
                connection.abort()
            else:
                connection.drain(urgent=False)

    def end_revoked(self) -> None:
        """End the calls that the table has revoked."""
        self.looks += 1
        self.world.live.end_revoked(time.monotonic_ns())

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.rage)
            async with trio.open_nursery() as clients:
                for _ in range(CLIENTS):
                    clients.start_soon(self.client)
            self.over = True
        self.world.live.end_all()
        await self.world.settled()
        self.world.gateway._services.settlements.flush()


def _counted(site: GatedGateway) -> Counter[tuple[str, str]]:
    """The calls that the metrics count, by outcome and status."""
    counts: Counter[tuple[str, str]] = Counter()
    text = site.world.exposition.read()[0].decode()
    for labels, count in _REQUESTS.findall(text):
        found = dict(_LABEL.findall(labels))
        counts[found["outcome"], found["status"]] += int(count)
    return counts


@pytest.mark.parametrize("http2_server", [False, True])
async def test_each_call_is_settled_and_recorded_once(
    http2_server: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Budgets are exact, and each request that the tool has seen has one record, and was paid."""
    # A circuit that the chaos opens is closed again long before the clients have ended.
    monkeypatch.setattr(limits, "breaker_seconds_min", 0.01)
    monkeypatch.setattr(limits, "breaker_seconds_max", 0.02)
    async with gated_gateway(
        tmp_path, _cheap, ("*",), straight=True, http2_server=http2_server
    ) as site:
        site.stays = True
        answers = _Frames if http2_server else _Answers
        site.answer = answers(random.Random(5))  # type: ignore[assignment]
        chaos = _Chaos(site, seed=6)
        await chaos.run()
        calls = [each for each in site.world.sink.records if isinstance(each, CallRecord)]
        paid = [each for each in calls if each.verdict == "permit"]
        assert max(Counter(each.request for each in calls).values()) == 1
        charged = {each.request for each in paid if each.cost_micro} | chaos.burned.keys()
        assert {each.cost_micro for each in paid} == {0, PRICE}
        assert set(chaos.burned.values()) <= {1}
        assert {
            found for each in site.asked for found in _ID.findall(each.decode("latin-1"))
        } <= charged
        keys = [ids.branch_key("article", branch) for branch in BRANCHES]
        budgets = [each.branch(each.find(key)) for each in chaos.tables for key in keys]
        assert all(budget is not None and budget.reserved == 0 for budget in budgets)
        assert sum(each.settled + each.burned for each in budgets) == PRICE * len(charged)
        assert sum(each.burned for each in budgets) == PRICE * len(chaos.burned)
        assert _counted(site) == Counter((each.outcome, str(each.status or "")) for each in calls)
        assert chaos.looks
        assert site.house.gate.counters()["dropped_permits"] == 0
        assert [host.outstanding for host in chaos.pool.hosts] == [0]
        assert all(connection.is_idle for connection in chaos.pool.by_connection)
        straight = site.world.gateway.straight
        assert straight.done
        assert straight.given_up
        assert len({each.outcome for each in paid}) > 2
