"""One worker's way to the servers of one upstream: which of them carries a call, and who waits.

A call goes to the member with the fewest calls (`members`), on a connection that has room, or it
waits for one that is made for it. Deadlines are looked at by `sweep`, not by a timer each, so that
what is over its own ends up to a second later. Knows of HTTP only which class speaks it.
"""

import logging
import math
import random
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import trio

from crewgate import limits
from crewgate.config import Origin, Upstream
from crewgate.errors import UpstreamError, UpstreamTimeoutError, UpstreamUnavailableError
from crewgate.upstream.balancer import Address, Member, Members
from crewgate.upstream.connector import Opener
from crewgate.upstream.error_barrier import guarded
from crewgate.upstream.failure_log import Complaints
from crewgate.upstream.health_check import Prober
from crewgate.upstream.host_pool import Stock, Stocks, tell
from crewgate.upstream.interfaces import ENDING, OURS, Alone, Caller, Connection, Fate, ReuseKey
from crewgate.upstream.resolver import Resolver
from crewgate.upstream.retry_budget import RetryBudget
from crewgate.upstream.wait_queue import Queue

if TYPE_CHECKING:
    from crewgate._native.permit import Permit

_log = logging.getLogger(__name__)


class Pool:
    """The connections of one worker to `upstream`. Is the `Owner` of its connections.

    `run` makes them; a call that comes before waits for it. `sweep` is to be called once a second.
    """

    def __init__(
        self, upstream: Upstream, opener: Opener, resolver: Resolver, say: Callable[[str], None]
    ) -> None:
        """`say` is told in a sentence when a server is given up, and when it is back."""
        self.upstream = upstream
        self.first_byte_seconds = upstream.first_byte_seconds
        self.idle_seconds = upstream.idle_seconds
        self.members = Members(upstream.health, random.random)
        self._opener = opener
        self._resolver = resolver
        self._budget = RetryBudget(upstream.retry_share if upstream.retry else 0.0)
        self._stocks = Stocks(upstream.connections)
        self._homeless = Queue()  # until an address is known
        self._nursery: trio.Nursery | None = None
        self._say = say
        self.regret = Complaints(upstream.name, say).hear  # why a call failed
        self._prober = Prober(upstream, self.members, opener, self._turned)
        self._is_refilling = False
        self._is_waking = False  # connections that rest are watched for the end of that
        self._closed = False
        self._why = ""  # the last server was given up
        self._unknown: dict[Origin, str] = {}  # endpoints without an address, and why
        self._news = trio.Event()  # it may be done by now

    def __repr__(self) -> str:
        return f"<Pool {self.upstream.name}: {list(self._stocks)!r}>"

    @property
    def trouble(self) -> str:
        """Why no call is carried; empty if some may be. At least one server is enough."""
        if any(member.breaker.admits for member in self.members):
            return ""
        return self._why if len(self.members) else next(iter(self._unknown.values()), "")

    @property
    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def start(self, permit: "Permit", caller: Caller) -> None:
        """Carry a call as soon as may be; nothing is sent for a caller without a permit."""
        self._budget.called(self.now)
        caller.reuse_key = self._reuse_key(permit)
        self._place(caller)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Make connections until the pool is closed and idle, or cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for endpoint in self.upstream.endpoints:
                    self._resolver.watch(endpoint, self)
                self._prober.start(nursery)
                task_status.started()
                while not self._closed or self._homeless or not self._stocks.is_empty:
                    await self._news.wait()
                    self._news = trio.Event()
                nursery.cancel_scope.cancel()
        finally:
            self._nursery = None
            for endpoint in self.upstream.endpoints:
                self._resolver.unwatch(endpoint, self)
            for connection in list(self._stocks.of):
                _guard(connection, connection.abort)
            for queue in [*[stock.waiting for stock in self._stocks], self._homeless]:
                for caller in queue.take_expired(math.inf):
                    tell(caller, UpstreamError(ENDING))

    def sweep(self, now: float) -> None:
        """Break off what takes too long at `now` (monotonic), close what was long unused."""
        for connection in list(self._stocks.of):
            _guard(connection, connection.sweep, now)
        full = f"all {self.upstream.connections} connections are in use"
        for stock in self._stocks:
            for caller in stock.waiting.take_expired(now):
                self.members.give_back(stock.member)
                tell(caller, UpstreamTimeoutError(full))
        for caller in self._homeless.take_expired(now):
            tell(caller, UpstreamTimeoutError("no address was found in time"))
        self._end_if_done()

    def close(self) -> None:
        """Close what is not in use, keep nothing from now on, and end when all calls have."""
        self._closed = True
        for stock in self._stocks:
            stock.close()
        self._end_if_done()

    # The resolver's side.

    def resolved(self, endpoint: Origin, addresses: Iterable[Address]) -> None:
        """Call these addresses from now on."""
        self._unknown.pop(endpoint, None)
        changes = self.members.update({endpoint: addresses})
        for member in changes.added:
            self._stocks.by_member[member] = Stock(member, self._opener.calls_each)
        for member in changes.gone:
            self._leave(member)
        homeless, self._homeless = self._homeless, Queue()
        for caller in homeless:
            self._place_one(caller)

    def unresolved(self, endpoint: Origin, error: UpstreamError) -> None:
        """Go on with what is known; without any address there is nothing to wait for."""
        self._unknown[endpoint] = str(error)
        if not len(self.members):
            homeless, self._homeless = self._homeless, Queue()
            for caller in homeless:
                tell(caller, error)

    # The connections' side.

    def left(self, connection: Connection, *, answered: bool) -> None:
        """Count a call that has ended."""
        member = connection.member
        self.members.give_back(member)
        if answered:
            self.members.answered(member)

    def freed(self, connection: Connection) -> None:
        """Give the room to who waits, or keep it."""
        stock = self._stocks.of[connection]
        stock.free.add(connection)
        if stock.waiting:
            self._serve(stock)
            if stock.waiting and not stock.serving:  # others' turn, who may not use it
                self._refill(stock)
        if self._closed or stock.member.gone or self._stocks.is_in_the_way(stock):
            connection.close()

    def rests(self, connection: Connection) -> None:
        """Keep a connection, and use it once what may still come on it would have ended it."""
        stock = self._stocks.of[connection]
        if self._closed or stock.member.gone or self._nursery is None:
            connection.close()
            return
        self._stocks.resting[connection] = trio.current_time() + limits.upstream_rest_seconds
        for each in self._stocks:
            self._refill(each)
        if not self._is_waking:
            self._is_waking = True
            self._nursery.start_soon(self._wake)

    def ended(self, connection: Connection) -> None:
        """Forget a connection; who waits needs another."""
        if self._stocks.forget(connection) and not self._is_refilling:
            for stock in self._stocks:
                self._refill(stock)
        self._end_if_done()

    def broke(
        self, connection: Connection, caller: Caller, error: UpstreamError, fate: Fate
    ) -> None:
        """Try again what the server has not seen, or may see twice; else tell the caller."""
        member = connection.member
        self.members.give_back(member)
        if fate is Fate.STALE and caller.repeatable and not caller.over:
            caller.again()  # costs no retry: it ends with the last of the kept connections
            self._place(caller)
            return
        if fate is Fate.LOST:
            self._blame(member, error)
        may_repeat = fate is Fate.UNSEEN or (fate is Fate.MET_ITS_END and caller.idempotent)
        if fate is Fate.BREACHED and not isinstance(caller.reuse_key, Alone):
            # One of the calls there has such an answer; again it breaks no other call's connection.
            caller.reuse_key = Alone()
            may_repeat = caller.idempotent
        # The member itself may carry it again: it was there, and may be the only one.
        self._again(caller, error, may_repeat=may_repeat)

    # Inside.

    def _reuse_key(self, permit: "Permit") -> ReuseKey:
        """Those whose calls may follow this one's on its connection."""
        match self.upstream.reuse:
            case "crew":
                return permit.grant.caller
            case "branch":
                return permit.grant.branch_key
            case _:
                return ""

    def _place(
        self,
        caller: Caller,
        avoid: tuple[Member, ...] = (),
        error: UpstreamError | None = None,
    ) -> None:
        """Have a call carried now, or wait, or fail: with `error`, where there was one before."""
        if caller.over:
            return
        member = self.members.take(self.now, avoid)
        if member is not None:
            stock = self._stocks.by_member[member]
            if not stock.carry(caller):
                stock.waiting.append((caller, self.now + self.upstream.connect_seconds))
                self._refill(stock)
        elif len(self.members):
            seconds = self.members.seconds_left(self.now)
            caller.failed(error or UpstreamUnavailableError("no server answers", seconds))
        else:
            self._homeless.append((caller, self.now + self.upstream.connect_seconds))
            for endpoint in self.upstream.endpoints:
                self._resolver.want(endpoint)

    def _place_one(self, caller: Caller) -> None:
        """Place one of several."""
        if not guarded(self._place, caller):
            tell(caller, UpstreamError(OURS))

    def _again(
        self,
        caller: Caller,
        error: UpstreamError,
        *,
        may_repeat: bool,
        avoid: tuple[Member, ...] = (),
    ) -> None:
        """Try another member, or the same, if that is allowed, safe and paid for."""
        if caller.over:
            return
        if (
            may_repeat
            and caller.repeatable
            and caller.attempts < limits.upstream_retries_max
            and self.upstream.retry
            and self._budget.take(self.now)
        ):
            caller.attempts += 1
            caller.again()
            self._place(caller, avoid, error)
        else:
            caller.failed(error)

    def _blame(self, member: Member, error: UpstreamError) -> None:
        if self.members.failed(member, time.monotonic()):
            self._turned(member, str(error))

    def _turned(self, member: Member, why: str) -> None:
        """Give up a member whose circuit has opened; say it, and that it has closed."""
        place = f"{member.endpoint.authority} at {member.address.sockaddr[0]}"
        if member.breaker.admits:
            self._say(f"upstream {self.upstream.name}: {place} is called again: {why}")
            return
        self._why = f"{place}: {why}"
        self._say(f"upstream {self.upstream.name}: {place} is not called until it is well: {why}")
        if self._nursery is not None:
            self._prober.start(self._nursery)
        self._leave(member)

    def _leave(self, member: Member) -> None:
        """Keep no connection to a member that is not called any more, and let nobody wait."""
        stock = self._stocks.by_member.get(member)
        if stock is None:  # it had left, and its last connection is what failed
            return
        stock.close()
        waiting, stock.waiting = stock.waiting, Queue(self._opener.calls_each)
        for caller in waiting:
            self.members.give_back(member)
            self._place_one(caller)
        self._stocks.tidy(stock)

    def _serve(self, stock: Stock) -> None:
        """Give what is free to who waits, and go on with the next if one ends at once."""
        if stock.serving:
            return
        stock.serving = True
        try:
            while True:
                promised = stock.opening + len(self._stocks.leaving)
                entry = stock.take_next(promised)
                if entry is None:
                    break
                if entry[0].over:
                    self.members.give_back(stock.member)
                elif not stock.carry(entry[0]):
                    stock.waiting.put_back(entry)
        finally:
            stock.serving = False

    def _refill(self, stock: Stock) -> None:
        """Make as many connections as are wanted and allowed."""
        if self._nursery is None or self._is_refilling:
            return
        self._is_refilling = True  # what is closed for this one is none of the others' business
        try:
            while stock.opening < stock.waiting.needed:
                if self._stocks.is_full and not self._stocks.make_room(stock):
                    return
                stock.opening += 1
                self._nursery.start_soon(self._open, stock)
        finally:
            self._is_refilling = False

    async def _wake(self) -> None:
        """Let connections be used that have rested, until none rests; what came has ended them."""
        resting = self._stocks.resting
        try:
            while resting:
                connection, until = next(iter(resting.items()))
                await trio.sleep_until(until)
                if resting.pop(connection, None) is not None:
                    _guard(connection, self.freed, connection)
        finally:
            self._is_waking = False

    async def _open(self, stock: Stock) -> None:
        """Make one connection for the call whose turn it is, or tell it why there is none."""
        try:
            connection = await self._opener.open(stock.member, self)
        except UpstreamError as error:
            stock.opening -= 1
            self._fail_one(stock, error)
            return
        except Exception:  # noqa: BLE001 - the barrier
            _log.exception("a connection to a tool's server was not made by an error of ours")
            stock.opening -= 1
            self._fail_one(stock, UpstreamError(OURS))
            return
        except BaseException:
            stock.opening -= 1
            raise
        stock.opening -= 1
        self._stocks.add(connection, stock)
        _guard(connection, self.freed, connection)

    def _fail_one(self, stock: Stock, error: UpstreamError) -> None:
        """Let the call whose turn it is try elsewhere: nothing of it was sent."""
        member = stock.member
        self._blame(member, error)
        while stock.waiting:
            caller, _ = stock.waiting.popleft()
            self.members.give_back(member)
            if not caller.over:
                self._again(caller, error, may_repeat=True, avoid=(member,))
                break
        self._refill(stock)
        self._end_if_done()

    def _end_if_done(self) -> None:
        """Have `run` look, in a moment: the call that ended a connection may need another."""
        if self._closed:
            self._news.set()


def _guard(connection: Connection, work: Callable[..., None], *given: object) -> None:
    """Do what concerns one connection, or end it."""
    if not guarded(work, *given):
        guarded(connection.abort, OURS)
