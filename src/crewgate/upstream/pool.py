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
from crewgate.config import UpstreamConfig, UpstreamOrigin
from crewgate.errors import UpstreamError, UpstreamTimeoutError, UpstreamUnavailableError
from crewgate.upstream.balancer import Host, LeastRequestBalancer, SocketAddress
from crewgate.upstream.connector import Connector
from crewgate.upstream.error_barrier import guarded
from crewgate.upstream.failure_log import FailureLog
from crewgate.upstream.health_check import HealthChecker
from crewgate.upstream.host_pool import HostPool, HostPools, fail_call
from crewgate.upstream.interfaces import (
    ENDING,
    OURS,
    CallObserver,
    DeliveryState,
    ExclusiveUse,
    ReuseKey,
    UpstreamConnection,
)
from crewgate.upstream.resolver import Resolver
from crewgate.upstream.retry_budget import RetryBudget
from crewgate.upstream.wait_queue import WaitQueue

if TYPE_CHECKING:
    from crewgate._native.permit import Permit

_log = logging.getLogger(__name__)


class UpstreamPool:
    """The connections of one worker to `upstream`. Is the `Owner` of its connections.

    `run` makes them; a call that comes before waits for it. `sweep` is to be called once a second.
    """

    def __init__(
        self,
        upstream: UpstreamConfig,
        opener: Connector,
        resolver: Resolver,
        log: Callable[[str], None],
    ) -> None:
        """`log` is told in a sentence when a server is given up, and when it is back."""
        self.upstream = upstream
        self.first_byte_seconds = upstream.first_byte_seconds
        self.idle_seconds = upstream.idle_seconds
        self.members = LeastRequestBalancer(upstream.health, random.random)
        self._opener = opener
        self._resolver = resolver
        self._budget = RetryBudget(upstream.retry_share if upstream.retry else 0.0)
        self._pools = HostPools(upstream.connections)
        self._unresolved = WaitQueue()  # until an address is known
        self._nursery: trio.Nursery | None = None
        self._log = log
        self.log_failure = FailureLog(upstream.name, log).add  # why a call failed
        self._prober = HealthChecker(upstream, self.members, opener, self._on_circuit_change)
        self._is_refilling = False
        self._is_waking = False  # connections that rest are watched for the end of that
        self._closed = False
        self._why = ""  # the last server was given up
        self._unknown: dict[UpstreamOrigin, str] = {}  # endpoints without an address, and why
        self._news = trio.Event()  # it may be done by now

    def __repr__(self) -> str:
        return f"<Pool {self.upstream.name}: {list(self._pools)!r}>"

    @property
    def unavailable_reason(self) -> str:
        """Why no call is carried; empty if some may be. At least one server is enough."""
        if any(member.breaker.admits for member in self.members):
            return ""
        return self._why if len(self.members) else next(iter(self._unknown.values()), "")

    @property
    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic()

    def start(self, permit: "Permit", caller: CallObserver) -> None:
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
                while not self._closed or self._unresolved or not self._pools.is_empty:
                    await self._news.wait()
                    self._news = trio.Event()
                nursery.cancel_scope.cancel()
        finally:
            self._nursery = None
            for endpoint in self.upstream.endpoints:
                self._resolver.unwatch(endpoint, self)
            for connection in list(self._pools.of):
                _guard(connection, connection.abort)
            for queue in [*[pool.waiting for pool in self._pools], self._unresolved]:
                for caller in queue.take_expired(math.inf):
                    fail_call(caller, UpstreamError(ENDING))

    def sweep(self, now: float) -> None:
        """Break off what takes too long at `now` (monotonic), close what was long unused."""
        for connection in list(self._pools.of):
            _guard(connection, connection.sweep, now)
        full = f"all {self.upstream.connections} connections are in use"
        for pool in self._pools:
            for caller in pool.waiting.take_expired(now):
                self.members.give_back(pool.member)
                fail_call(caller, UpstreamTimeoutError(full))
        for caller in self._unresolved.take_expired(now):
            fail_call(caller, UpstreamTimeoutError("no address was found in time"))
        self._end_if_done()

    def close(self) -> None:
        """Close what is not in use, keep nothing from now on, and end when all calls have."""
        self._closed = True
        for pool in self._pools:
            pool.close()
        self._end_if_done()

    def resolved(self, endpoint: UpstreamOrigin, addresses: Iterable[SocketAddress]) -> None:
        """Call these addresses from now on."""
        self._unknown.pop(endpoint, None)
        changes = self.members.update({endpoint: addresses})
        for member in changes.added:
            self._pools.by_member[member] = HostPool(member, self._opener.calls_each)
        for member in changes.gone:
            self._leave(member)
        homeless, self._unresolved = self._unresolved, WaitQueue()
        for caller in homeless:
            self._place_one(caller)

    def unresolved(self, endpoint: UpstreamOrigin, error: UpstreamError) -> None:
        """Go on with what is known; without any address there is nothing to wait for."""
        self._unknown[endpoint] = str(error)
        if not len(self.members):
            homeless, self._unresolved = self._unresolved, WaitQueue()
            for caller in homeless:
                fail_call(caller, error)

    def left(self, connection: UpstreamConnection, *, answered: bool) -> None:
        """Count a call that has ended."""
        member = connection.member
        self.members.give_back(member)
        if answered:
            self.members.answered(member)

    def freed(self, connection: UpstreamConnection) -> None:
        """Give the room to who waits, or keep it."""
        pool = self._pools.of[connection]
        pool.free.add(connection)
        if pool.waiting:
            self._serve(pool)
            if pool.waiting and not pool.serving:  # others' turn, who may not use it
                self._refill(pool)
        if self._closed or pool.member.gone or self._pools.is_in_the_way(pool):
            connection.close()

    def rests(self, connection: UpstreamConnection) -> None:
        """Keep a connection, and use it once what may still come on it would have ended it."""
        pool = self._pools.of[connection]
        if self._closed or pool.member.gone or self._nursery is None:
            connection.close()
            return
        self._pools.resting[connection] = trio.current_time() + limits.upstream_rest_seconds
        for each in self._pools:
            self._refill(each)
        if not self._is_waking:
            self._is_waking = True
            self._nursery.start_soon(self._wake)

    def ended(self, connection: UpstreamConnection) -> None:
        """Forget a connection; who waits needs another."""
        if self._pools.forget(connection) and not self._is_refilling:
            for pool in self._pools:
                self._refill(pool)
        self._end_if_done()

    def broke(
        self,
        connection: UpstreamConnection,
        caller: CallObserver,
        error: UpstreamError,
        fate: DeliveryState,
    ) -> None:
        """Try again what the server has not seen, or may see twice; else tell the caller."""
        member = connection.member
        self.members.give_back(member)
        if fate is DeliveryState.STALE and caller.repeatable and not caller.over:
            caller.again()  # costs no retry: it ends with the last of the kept connections
            self._place(caller)
            return
        if fate is DeliveryState.LOST:
            self._record_failure(member, error)
        may_repeat = fate is DeliveryState.UNSEEN or (
            fate is DeliveryState.MET_ITS_END and caller.idempotent
        )
        if fate is DeliveryState.BREACHED and not isinstance(caller.reuse_key, ExclusiveUse):
            # One of the calls there has such an answer; again it breaks no other call's connection.
            caller.reuse_key = ExclusiveUse()
            may_repeat = caller.idempotent
        # The member itself may carry it again: it was there, and may be the only one.
        self._again(caller, error, may_repeat=may_repeat)

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
        self, caller: CallObserver, avoid: tuple[Host, ...] = (), error: UpstreamError | None = None
    ) -> None:
        """Have a call carried now, or wait, or fail: with `error`, where there was one before."""
        if caller.over:
            return
        member = self.members.take(self.now, avoid)
        if member is not None:
            pool = self._pools.by_member[member]
            if not pool.carry(caller):
                pool.waiting.append((caller, self.now + self.upstream.connect_seconds))
                self._refill(pool)
        elif len(self.members):
            seconds = self.members.seconds_left(self.now)
            caller.failed(error or UpstreamUnavailableError("no server answers", seconds))
        else:
            self._unresolved.append((caller, self.now + self.upstream.connect_seconds))
            for endpoint in self.upstream.endpoints:
                self._resolver.refresh_now(endpoint)

    def _place_one(self, caller: CallObserver) -> None:
        """Place one of several."""
        if not guarded(self._place, caller):
            fail_call(caller, UpstreamError(OURS))

    def _again(
        self,
        caller: CallObserver,
        error: UpstreamError,
        *,
        may_repeat: bool,
        avoid: tuple[Host, ...] = (),
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

    def _record_failure(self, member: Host, error: UpstreamError) -> None:
        if self.members.failed(member, time.monotonic()):
            self._on_circuit_change(member, str(error))

    def _on_circuit_change(self, member: Host, why: str) -> None:
        """Give up a member whose circuit has opened; say it, and that it has closed."""
        place = f"{member.endpoint.authority} at {member.address.sockaddr[0]}"
        if member.breaker.admits:
            self._log(f"upstream {self.upstream.name}: {place} is called again: {why}")
            return
        self._why = f"{place}: {why}"
        self._log(f"upstream {self.upstream.name}: {place} is not called until it is well: {why}")
        if self._nursery is not None:
            self._prober.start(self._nursery)
        self._leave(member)

    def _leave(self, member: Host) -> None:
        """Keep no connection to a member that is not called any more, and let nobody wait."""
        pool = self._pools.by_member.get(member)
        if pool is None:  # it had left, and its last connection is what failed
            return
        pool.close()
        waiting, pool.waiting = pool.waiting, WaitQueue(self._opener.calls_each)
        for caller in waiting:
            self.members.give_back(member)
            self._place_one(caller)
        self._pools.tidy(pool)

    def _serve(self, pool: HostPool) -> None:
        """Give what is free to who waits, and go on with the next if one ends at once."""
        if pool.serving:
            return
        pool.serving = True
        try:
            while True:
                promised = pool.opening + len(self._pools.leaving)
                entry = pool.take_next(promised)
                if entry is None:
                    break
                if entry[0].over:
                    self.members.give_back(pool.member)
                elif not pool.carry(entry[0]):
                    pool.waiting.put_back(entry)
        finally:
            pool.serving = False

    def _refill(self, pool: HostPool) -> None:
        """Make as many connections as are wanted and allowed."""
        if self._nursery is None or self._is_refilling:
            return
        self._is_refilling = True  # what is closed for this one is none of the others' business
        try:
            while pool.opening < pool.waiting.needed:
                if self._pools.is_full and not self._pools.make_room(pool):
                    return
                pool.opening += 1
                self._nursery.start_soon(self._open, pool)
        finally:
            self._is_refilling = False

    async def _wake(self) -> None:
        """Let connections be used that have rested, until none rests; what came has ended them."""
        resting = self._pools.resting
        try:
            while resting:
                connection, until = next(iter(resting.items()))
                await trio.sleep_until(until)
                if resting.pop(connection, None) is not None:
                    _guard(connection, self.freed, connection)
        finally:
            self._is_waking = False

    async def _open(self, pool: HostPool) -> None:
        """Make one connection for the call whose turn it is, or tell it why there is none."""
        try:
            connection = await self._opener.open(pool.member, self)
        except UpstreamError as error:
            pool.opening -= 1
            self._fail_one(pool, error)
            return
        except Exception:  # noqa: BLE001 - the barrier
            _log.exception("a connection to a tool's server was not made by an error of ours")
            pool.opening -= 1
            self._fail_one(pool, UpstreamError(OURS))
            return
        except BaseException:
            pool.opening -= 1
            raise
        pool.opening -= 1
        self._pools.add(connection, pool)
        _guard(connection, self.freed, connection)

    def _fail_one(self, pool: HostPool, error: UpstreamError) -> None:
        """Let the call whose turn it is try elsewhere: nothing of it was sent."""
        member = pool.member
        self._record_failure(member, error)
        while pool.waiting:
            caller, _ = pool.waiting.popleft()
            self.members.give_back(member)
            if not caller.over:
                self._again(caller, error, may_repeat=True, avoid=(member,))
                break
        self._refill(pool)
        self._end_if_done()

    def _end_if_done(self) -> None:
        """Have `run` look, in a moment: the call that ended a connection may need another."""
        if self._closed:
            self._news.set()


def _guard(connection: UpstreamConnection, work: Callable[..., None], *given: object) -> None:
    """Do what concerns one connection, or end it."""
    if not guarded(work, *given):
        guarded(connection.abort, OURS)
