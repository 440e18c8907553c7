"""Carries the calls of one worker to the servers of one upstream.

A call goes to the host with the fewest calls (`balancer`), on a free connection, or it waits for a
connection that is opened for it. `sweep` checks the deadlines, not a timer for each, so an overdue
call ends up to a second late.
"""

import logging
import math
import random
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import trio

from crewgate import limits
from crewgate._datapath.connection_pool import ConnectionPool
from crewgate._datapath.retry_budget import RetryBudget
from crewgate.config import UpstreamConfig, UpstreamOrigin
from crewgate.core.delivery import ENDING, OURS, DeliveryState
from crewgate.errors import UpstreamCircuitOpenError, UpstreamError, UpstreamTimeoutError
from crewgate.upstream.balancer import Host, LeastRequestBalancer, SocketAddress
from crewgate.upstream.connector import Connector, Outcome, PendingConnection
from crewgate.upstream.error_isolation import run_isolated
from crewgate.upstream.fair_wait_queue import FairWaitQueue
from crewgate.upstream.health_check import HealthChecker
from crewgate.upstream.host_pool import HostPool, HostPools, fail_call
from crewgate.upstream.interfaces import (
    CallObserver,
    SingleCallReuseKey,
    UpstreamConnection,
)
from crewgate.upstream.resolver import Resolver

if TYPE_CHECKING:
    from crewgate._native.permit import Permit

_log = logging.getLogger(__name__)


class UpstreamPool(ConnectionPool):
    """The pool of one worker's connections to `upstream`.

    The part that each call needs is in `ConnectionPool`.

    `run` opens connections; a call that is started earlier waits. Call `sweep` once a second.
    """

    def __init__(
        self,
        upstream: UpstreamConfig,
        connector: Connector,
        resolver: Resolver,
    ) -> None:
        self._pools = HostPools(upstream.connections)
        super().__init__(
            LeastRequestBalancer(upstream.health, random.random),
            RetryBudget(upstream.retry_share if upstream.retry else 0.0),
            self._pools.by_host,
            self._pools.by_connection,
            first_byte_seconds=upstream.first_byte_seconds,
            idle_seconds=upstream.idle_seconds,
            keep_seconds=upstream.keep_seconds,
            retries=upstream.retry,
            reuse=upstream.reuse,
        )
        self.upstream = upstream
        self._connector = connector
        self._resolver = resolver
        self._unresolved = FairWaitQueue()  # calls that wait for an address
        self._nursery: trio.Nursery | None = None
        self._checker = HealthChecker(upstream, self.hosts, connector, self._on_circuit_change)
        self._is_refilling = False
        self._is_ending_rests = False
        self._last_failure = ""  # why the last circuit opened
        self._resolve_errors: dict[UpstreamOrigin, str] = {}
        self._may_be_done = trio.Event()

    @property
    def unavailable_reason(self) -> str:
        """Why no host gets calls; "" if at least one does."""
        if any(host.breaker.admits for host in self.hosts):
            return ""
        if len(self.hosts):
            return self._last_failure
        return next(iter(self._resolve_errors.values()), "")

    def start(self, permit: "Permit", caller: CallObserver) -> None:
        """Carry a call that has a permit, as soon as possible."""
        caller.reuse_key = self.reuse_key(permit)
        self.start_without_permit(caller)

    def start_without_permit(self, caller: CallObserver) -> None:
        """Carry a call that needs no permit, as soon as possible."""
        self.retry_budget.called(self.now)
        self._place(caller)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Open connections until the pool is closed and idle, or cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for endpoint in self.upstream.endpoints:
                    self._resolver.watch(endpoint, self)
                self._checker.start(nursery)
                task_status.started()
                while not self.is_closed or self._unresolved or not self._pools.is_empty:
                    await self._may_be_done.wait()
                    self._may_be_done = trio.Event()
                nursery.cancel_scope.cancel()
        finally:
            self._nursery = None
            for endpoint in self.upstream.endpoints:
                self._resolver.unwatch(endpoint, self)
            for pool in self._pools:
                pool.cancel_opening()
            for connection in list(self._pools.by_connection):
                _guard(connection, connection.abort)
            for queue in [*[pool.waiting for pool in self._pools], self._unresolved]:
                for caller in queue.take_expired(math.inf):
                    fail_call(caller, UpstreamError(ENDING))

    def sweep(self, now: float) -> None:
        """Fail calls that are overdue at `now` (monotonic), and close unused connections."""
        for connection in list(self._pools.by_connection):
            _guard(connection, connection.sweep, now)
        for pool in self._pools:
            for pending in list(pool.opening):
                pending.sweep(now)
        message = f"all {self.upstream.connections} connections are in use"
        for pool in self._pools:
            for caller in pool.waiting.take_expired(now):
                self.hosts.give_back(pool.host)
                fail_call(caller, UpstreamTimeoutError(message))
        for caller in self._unresolved.take_expired(now):
            fail_call(caller, UpstreamTimeoutError("no address was resolved in time"))
        self._end_if_done()

    def close(self) -> None:
        """Close idle connections now, keep none from now on, and end after the last call."""
        self.is_closed = True
        for pool in self._pools:
            pool.close()
        self._end_if_done()

    def resolved(self, endpoint: UpstreamOrigin, addresses: Iterable[SocketAddress]) -> None:
        """Use these addresses for the endpoint from now on."""
        self._resolve_errors.pop(endpoint, None)
        changes = self.hosts.update({endpoint: addresses})
        for host in changes.added:
            self._pools.by_host[host] = HostPool(host, self._connector.calls_each)
        for host in changes.gone:
            self._leave_host(host)
        waiting, self._unresolved = self._unresolved, FairWaitQueue()
        for caller in waiting:
            self._place_one(caller)

    def unresolved(self, endpoint: UpstreamOrigin, error: UpstreamError) -> None:
        """Go on with the known addresses; if there are none, fail the calls that wait."""
        self._resolve_errors[endpoint] = str(error)
        if not len(self.hosts):
            waiting, self._unresolved = self._unresolved, FairWaitQueue()
            for caller in waiting:
                fail_call(caller, error)

    def rests(self, connection: UpstreamConnection) -> None:
        """Keep a connection unused for `limits.upstream_rest_seconds`, then use it again."""
        pool = self._pools.by_connection[connection]
        if self.is_closed or pool.host.gone or self._nursery is None:
            connection.close()
            return
        self._pools.resting[connection] = trio.current_time() + limits.upstream_rest_seconds
        for other in self._pools:
            self._refill(other)
        if not self._is_ending_rests:
            self._is_ending_rests = True
            self._nursery.start_soon(self._end_rests)

    def ended(self, connection: UpstreamConnection) -> None:
        """Forget a closed connection, and open others for the calls that wait."""
        if self._pools.forget(connection) and not self._is_refilling:
            for pool in self._pools:
                self._refill(pool)
        self._end_if_done()

    def broke(
        self,
        connection: UpstreamConnection,
        caller: CallObserver,
        error: UpstreamError,
        delivery: DeliveryState,
    ) -> None:
        """Retry a failed call if the server has not seen it or may see it twice, else fail it."""
        host = connection.host
        self.hosts.give_back(host)
        if delivery is DeliveryState.STALE and caller.repeatable and not caller.over:
            caller.again()  # uses no retry: it ends with the last kept connection
            self._place(caller)
            return
        if delivery is DeliveryState.LOST:
            self._record_failure(host, error)
        may_repeat = delivery is DeliveryState.UNSEEN or (
            delivery is DeliveryState.MET_ITS_END and caller.idempotent
        )
        if delivery is DeliveryState.BREACHED and not isinstance(
            caller.reuse_key, SingleCallReuseKey
        ):
            # Alone on a connection, the call with the bad response fails no other call again.
            caller.reuse_key = SingleCallReuseKey()
            may_repeat = caller.idempotent
        # The same host may carry it again: it is running, and may be the only one. But a host that
        # closes kept connections may be about to end, and would close a new connection too.
        is_leaving = delivery is DeliveryState.MET_ITS_END and any(
            other.breaker.admits for other in self.hosts if other is not host
        )
        avoid = (host,) if is_leaving else ()
        self._retry_or_fail(caller, error, may_repeat=may_repeat, avoid=avoid)

    def _place(
        self, caller: CallObserver, avoid: tuple[Host, ...] = (), error: UpstreamError | None = None
    ) -> None:
        """Carry a call now, or queue it, or fail it with `error`, that of its last attempt."""
        if caller.over:
            return
        host = self.hosts.take(self.now, avoid)
        if host is not None:
            pool = self._pools.by_host[host]
            if not pool.carry(caller):
                pool.waiting.append((caller, self.now + self.upstream.connect_seconds))
                self._refill(pool)
        elif len(self.hosts):
            retry_after = self.hosts.seconds_left(self.now)
            caller.failed(error or UpstreamCircuitOpenError("no server is available", retry_after))
        else:
            self._unresolved.append((caller, self.now + self.upstream.connect_seconds))
            for endpoint in self.upstream.endpoints:
                self._resolver.refresh_now(endpoint)

    def _place_one(self, caller: CallObserver) -> None:
        """Place one of several calls; an internal error fails this call alone."""
        if not run_isolated(self._place, caller):
            fail_call(caller, UpstreamError(OURS))

    def _retry_or_fail(
        self,
        caller: CallObserver,
        error: UpstreamError,
        *,
        may_repeat: bool,
        avoid: tuple[Host, ...] = (),
    ) -> None:
        """Retry a call if that is configured, safe and within the budget; else fail it."""
        if caller.over:
            return
        if (
            may_repeat
            and caller.repeatable
            and caller.attempts < limits.upstream_retries_max
            and self.upstream.retry
            and self.retry_budget.take(self.now)
        ):
            caller.attempts += 1
            caller.again()
            self._place(caller, avoid, error)
        else:
            caller.failed(error)

    def _record_failure(self, host: Host, error: UpstreamError) -> None:
        if self.hosts.failed(host, time.monotonic()):
            self._on_circuit_change(host, str(error))

    def _on_circuit_change(self, host: Host, reason: str) -> None:
        """Log that a circuit has opened or closed; move the calls off a host without calls."""
        label = f"upstream {self.upstream.name}: server {host.name}"
        # An error of the connector names the host too.
        reason = reason.removeprefix(f"{host.name}: ")
        if host.breaker.admits:
            _log.warning("%s gets calls again: %s", label, reason)
            return
        self._last_failure = f"{host.name}: {reason}"
        _log.warning("%s gets no calls until probes succeed: %s", label, reason)
        if self._nursery is not None:
            self._checker.start(self._nursery)
        self._leave_host(host)

    def _leave_host(self, host: Host) -> None:
        """Close the connections to a host that gets no calls, and place its waiting calls anew."""
        pool = self._pools.by_host.get(host)
        if pool is None:  # the host was gone, and its last connection has just failed
            return
        pool.close()
        waiting, pool.waiting = pool.waiting, FairWaitQueue(self._connector.calls_each)
        for caller in waiting:
            self.hosts.give_back(host)
            self._place_one(caller)
        self._pools.tidy(pool)

    def serve_waiting(self, pool: HostPool) -> None:
        """Give free connections to waiting calls, in turn; open others for the rest."""
        if pool.serving:
            return
        pool.serving = True
        try:
            while True:
                promised = len(pool.opening) + len(self._pools.leaving)
                entry = pool.take_next(promised)
                if entry is None:
                    break
                if entry[0].over:
                    self.hosts.give_back(pool.host)
                elif not pool.carry(entry[0]):
                    pool.waiting.put_back(entry)
        finally:
            pool.serving = False
        if pool.waiting:  # the next call in turn may not use a free connection
            self._refill(pool)

    def is_in_the_way(self, pool: HostPool) -> bool:
        """Return whether the connections of `pool` keep calls for other hosts waiting."""
        return self._pools.is_in_the_way(pool)

    def _refill(self, pool: HostPool) -> None:
        """Open as many connections as the waiting calls need, within the limit."""
        if self._nursery is None or self._is_refilling:
            return
        self._is_refilling = True  # `ended` must not give the room to another pool
        try:
            on_end = partial(self._opened, pool)
            while len(pool.opening) < pool.waiting.needed:
                if self._pools.is_full and not self._pools.make_room(pool):
                    return
                pool.opening.add(self._connector.begin(pool.host, self, on_end))
        finally:
            self._is_refilling = False

    async def _end_rests(self) -> None:
        """Use each resting connection again after its time, until none rests."""
        resting = self._pools.resting
        try:
            while resting:
                connection, until = next(iter(resting.items()))
                await trio.sleep_until(until)
                if resting.pop(connection, None) is not None:
                    _guard(connection, self.freed, connection)
        finally:
            self._is_ending_rests = False

    def _opened(self, pool: HostPool, pending: PendingConnection, outcome: Outcome) -> None:
        """Use a new connection for the next call in turn; without one, fail or move the call."""
        pool.opening.discard(pending)
        if isinstance(outcome, UpstreamError):
            self._fail_next(pool, outcome)
            return
        self._pools.add(outcome, pool)
        _guard(outcome, self.freed, outcome)

    def _fail_next(self, pool: HostPool, error: UpstreamError) -> None:
        """Move the next call in turn to another host; nothing of it was sent."""
        host = pool.host
        self._record_failure(host, error)
        while pool.waiting:
            caller, _ = pool.waiting.popleft()
            self.hosts.give_back(host)
            if not caller.over:
                self._retry_or_fail(caller, error, may_repeat=True, avoid=(host,))
                break
        self._refill(pool)
        self._end_if_done()

    def _end_if_done(self) -> None:
        """Have `run` check soon, not now: the call that ended a connection may need another."""
        if self.is_closed:
            self._may_be_done.set()


def _guard(connection: UpstreamConnection, work: Callable[..., None], *args: object) -> None:
    """Call `work`; if it raises an Exception, abort the connection."""
    if not run_isolated(work, *args):
        run_isolated(connection.abort, OURS)
