"""Holds the connections of one worker to each host of an upstream, and the calls that wait for one.

`UpstreamPool` decides which host gets a call, how many connections are opened, and what a failure
means.
"""

from collections.abc import Iterator

from crewgate._datapath.host_connections import HostConnections
from crewgate.errors import UpstreamError
from crewgate.upstream.balancer import Host
from crewgate.upstream.connector import PendingConnection
from crewgate.upstream.error_isolation import run_isolated
from crewgate.upstream.fair_wait_queue import FairWaitQueue, WaitingCall
from crewgate.upstream.interfaces import (
    CallObserver,
    SingleCallReuseKey,
    UpstreamConnection,
)


class HostPool(HostConnections):
    """The connections to one host, and the calls that wait for one.

    `all` are the open connections, `free` those that may carry another call, `opening` those that
    are being opened. `serving`: free connections are being given to waiting calls now.
    """

    def __init__(self, host: Host, calls_each: int) -> None:
        """Each connection carries up to `calls_each` calls at once."""
        super().__init__(host, FairWaitQueue(calls_each))
        self.all: set[UpstreamConnection] = set()
        self.opening: set[PendingConnection] = set()
        self.serving = False

    @property
    def is_empty(self) -> bool:
        """Whether there is no connection, open or being opened, and no waiting call."""
        return not (self.all or self.opening or self.waiting)

    def carry(self, caller: CallObserver) -> bool:
        """Have a free connection carry the call; return False if there is none for it."""
        free, key = self.free, caller.reuse_key
        while (connection := free.take(key)) is not None:
            if not connection.is_usable(caller):
                connection.close()
                continue
            connection.reuse_key = key
            is_alone = isinstance(key, SingleCallReuseKey)
            if connection.free_streams > 1 and not is_alone:
                free.add(connection)
            connection.carry(caller)
            if is_alone:
                connection.close()  # closes after this call
            return True
        return False

    def take_next(self, promised: int) -> WaitingCall | None:
        """Take out of the queue the next call for which there is a free connection.

        The first `promised` reuse keys in turn have a connection that is being made for them, so
        they may be passed over. None if the key after those has no free connection.
        """
        for key in self.waiting.turns:
            if key in self.free:
                return self.waiting.pop(key)
            promised -= 1
            if promised < 0:
                break
        return None

    def forget(self, connection: UpstreamConnection) -> None:
        """Remove a connection that is closed."""
        self.all.discard(connection)
        self.free.discard(connection)

    def cancel_opening(self) -> None:
        """Give up the connections that are being opened."""
        for pending in self.opening:
            pending.cancel()
        self.opening.clear()

    def close(self) -> None:
        """Close the idle connections now, and the others after their calls."""
        for connection in list(self.all):
            connection.close()


class HostPools:
    """The pools of all hosts of one upstream, which share `connections_max` connections.

    `resting` holds the connections that must not be used before the given time (Trio's clock): they
    count as open, and are the first to be closed to make room. `leaving` are those that were closed
    to make room and still carry calls.
    """

    def __init__(self, connections_max: int) -> None:
        self.by_host: dict[Host, HostPool] = {}
        self.by_connection: dict[UpstreamConnection, HostPool] = {}
        self.resting: dict[UpstreamConnection, float] = {}
        self.leaving: set[UpstreamConnection] = set()
        self._connections_max = connections_max

    def __iter__(self) -> Iterator[HostPool]:
        """Iterate over a copy, so that the caller may add and remove pools."""
        return iter(list(self.by_host.values()))

    @property
    def is_empty(self) -> bool:
        """Whether no connection is open or being opened, and no call waits for one."""
        return not self.by_connection and all(pool.is_empty for pool in self.by_host.values())

    @property
    def is_full(self) -> bool:
        """Whether no further connection may be opened."""
        opening = sum([len(pool.opening) for pool in self.by_host.values()])
        return len(self.by_connection) + opening >= self._connections_max

    def add(self, connection: UpstreamConnection, pool: HostPool) -> None:
        """Add a connection that has been opened."""
        pool.all.add(connection)
        self.by_connection[connection] = pool

    def forget(self, connection: UpstreamConnection) -> bool:
        """Remove a connection that is closed; return False if it was removed before."""
        pool = self.by_connection.pop(connection, None)
        if pool is None:
            return False
        self.resting.pop(connection, None)
        self.leaving.discard(connection)
        pool.forget(connection)
        self.tidy(pool)
        return True

    def tidy(self, pool: HostPool) -> None:
        """Remove the pool of a host that is gone, once it is empty."""
        if pool.host.gone and pool.is_empty:
            self.by_host.pop(pool.host, None)

    def is_in_the_way(self, pool: HostPool) -> bool:
        """Return whether the connections of `pool` keep calls for other hosts waiting."""
        if len(self.by_host) == 1 or not self.is_full:
            return False
        return any(other.waiting for other in self.by_host.values() if other is not pool)

    def make_room(self, pool: HostPool) -> bool:
        """Close a connection that no call waiting for `pool` may use.

        A connection without calls makes room at once, so one with calls is closed only if there is
        no other. Return False if there is no room yet: no connection can be closed, or the closed
        one still carries calls.
        """
        found = next(iter(self.resting), None) or self._take_least_wanted(pool, idle=True)
        if found is None:
            if len(self.leaving) + len(pool.opening) >= pool.waiting.needed:
                return False
            found = self._take_least_wanted(pool, idle=False)
        if found is None:
            return False
        self.leaving.add(found)
        found.close()
        return not self.is_full

    def _take_least_wanted(self, pool: HostPool, *, idle: bool) -> UpstreamConnection | None:
        found = pool.free.take_oldest(next(iter(pool.waiting.turns)), None, idle=idle)
        if found is not None:
            return found
        for other in self:
            if other is not pool and (found := other.free.take_oldest(idle=idle)) is not None:
                return found
        return None


def fail_call(caller: CallObserver, error: UpstreamError) -> None:
    """Fail a call unless it is over, and contain an exception that its observer raises."""
    if not caller.over:
        run_isolated(caller.failed, error)
