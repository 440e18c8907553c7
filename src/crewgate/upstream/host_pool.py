"""The connections of one worker to the members of an upstream, and the calls that wait for one.

Decides nothing: which member, how many connections and what a failure means is the pool's.
"""

from collections import OrderedDict
from collections.abc import Iterator

from crewgate.errors import UpstreamError
from crewgate.upstream.balancer import Host
from crewgate.upstream.error_barrier import guarded
from crewgate.upstream.interfaces import CallObserver, ExclusiveUse, ReuseKey, UpstreamConnection
from crewgate.upstream.wait_queue import WaitingCall, WaitQueue


class IdleConnections:
    """Connections with room, by the reuse key whose calls they carry; None: no call's yet.

    The last one of a key is used next, so that those which are not needed grow old.
    """

    __slots__ = ("_by_key",)

    def __init__(self) -> None:
        self._by_key: OrderedDict[ReuseKey | None, list[UpstreamConnection]] = OrderedDict()

    def __len__(self) -> int:
        return sum([len(each) for each in self._by_key.values()])

    def __contains__(self, key: ReuseKey) -> bool:
        return key in self._by_key or None in self._by_key

    def add(self, connection: UpstreamConnection) -> None:
        """Keep a connection, the last that was used."""
        key = connection.reuse_key
        self._by_key.setdefault(key, []).append(connection)
        self._by_key.move_to_end(key)

    def take(self, key: ReuseKey) -> UpstreamConnection | None:
        """Take out one that may carry a call of `key`; None if there is none."""
        for each in (key, None):
            found = self._by_key.get(each)
            if found:
                connection = found.pop()
                if not found:
                    del self._by_key[each]
                return connection
        return None

    def take_oldest(self, *but: ReuseKey | None, idle: bool) -> UpstreamConnection | None:
        """Take out one of the key that was used longest ago, and is none of these.

        If `idle`, one that carries no call.
        """
        for key, found in self._by_key.items():
            if key in but:
                continue
            for connection in found:
                if connection.is_idle or not idle:
                    self.discard(connection)
                    return connection
        return None

    def discard(self, connection: UpstreamConnection) -> None:
        """Drop a connection, if it is there."""
        found = self._by_key.get(connection.reuse_key, [])
        if connection in found:
            found.remove(connection)
            if not found:
                del self._by_key[connection.reuse_key]


class HostPool:
    """What there is for `member`: all connections, those with room, and who waits until when."""

    __slots__ = ("all", "free", "member", "opening", "serving", "waiting")

    def __init__(self, member: Host, calls_each: int) -> None:
        """A connection carries up to `calls_each` calls at once."""
        self.member = member
        self.all: set[UpstreamConnection] = set()
        self.free = IdleConnections()
        self.opening = 0
        self.serving = False  # who waits is being given what is free
        self.waiting = WaitQueue(calls_each)

    def __repr__(self) -> str:
        return (
            f"<HostPool of {self.member!r}: {len(self.all)} open, {len(self.free)} with room, "
            f"{len(self.waiting)} waiting>"
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to remember."""
        return not (self.all or self.opening or self.waiting)

    def carry(self, caller: CallObserver) -> bool:
        """Have a connection with room carry the call; False if there is none for it."""
        free, key = self.free, caller.reuse_key
        while (connection := free.take(key)) is not None:
            if not connection.is_usable(caller):
                connection.close()
                continue
            connection.reuse_key = key
            is_alone = isinstance(key, ExclusiveUse)
            if connection.free_streams > 1 and not is_alone:
                free.add(connection)
            connection.carry(caller)
            if is_alone:
                connection.close()  # when this call has ended
            return True
        return False

    def take_next(self, promised: int) -> WaitingCall | None:
        """Take out of the queue who may have a connection that is free, in turns.

        None if it is the turn of somebody else: the first `promised` have one that is on its way.
        """
        for key in self.waiting.turns:
            if key in self.free:
                return self.waiting.pop(key)
            promised -= 1
            if promised < 0:
                break
        return None

    def forget(self, connection: UpstreamConnection) -> None:
        """Drop a connection that is closed."""
        self.all.discard(connection)
        self.free.discard(connection)

    def close(self) -> None:
        """Close what is not in use."""
        for connection in list(self.all):
            connection.close()


class HostPools:
    """The stocks of all members of an upstream, which share `most` connections.

    `resting` are those that are not to be used yet, and until when (monotonic seconds): they count
    as open, and are the first to make room.
    """

    def __init__(self, most: int) -> None:
        self.by_member: dict[Host, HostPool] = {}
        self.of: dict[UpstreamConnection, HostPool] = {}
        self.resting: dict[UpstreamConnection, float] = {}
        self.leaving: set[UpstreamConnection] = set()  # closed to make room, with calls on them
        self._most = most

    def __iter__(self) -> Iterator[HostPool]:
        """All of them, whatever is done to them meanwhile."""
        return iter(list(self.by_member.values()))

    @property
    def is_empty(self) -> bool:
        """Whether no connection is open or being made, and nobody waits for one."""
        return not self.of and all(host_pool.is_empty for host_pool in self.by_member.values())

    @property
    def is_full(self) -> bool:
        """Whether no further connection may be made."""
        opening = sum([host_pool.opening for host_pool in self.by_member.values()])
        return len(self.of) + opening >= self._most

    def add(self, connection: UpstreamConnection, host_pool: HostPool) -> None:
        """Take a connection that has been made."""
        host_pool.all.add(connection)
        self.of[connection] = host_pool

    def forget(self, connection: UpstreamConnection) -> bool:
        """Drop a connection that is closed; False if that has been done before."""
        host_pool = self.of.pop(connection, None)
        if host_pool is None:
            return False
        self.resting.pop(connection, None)
        self.leaving.discard(connection)
        host_pool.forget(connection)
        self.tidy(host_pool)
        return True

    def tidy(self, host_pool: HostPool) -> None:
        """Drop what was kept for a member that is gone, once nothing is left of it."""
        if host_pool.member.gone and host_pool.is_empty:
            self.by_member.pop(host_pool.member, None)

    def is_in_the_way(self, host_pool: HostPool) -> bool:
        """Return whether a member's connections keep another's waiting calls from having one."""
        if len(self.by_member) == 1 or not self.is_full:
            return False
        return any(other.waiting for other in self.by_member.values() if other is not host_pool)

    def make_room(self, host_pool: HostPool) -> bool:
        """Close a connection that none of those who wait for `host_pool` may use.

        One that carries no call gives it at once, so that those with calls come last. False if
        that has given no room: there is none, or it carries calls of others to their end.
        """
        found = next(iter(self.resting), None) or self._least_wanted(host_pool, idle=True)
        if found is None:
            if len(self.leaving) + host_pool.opening >= host_pool.waiting.needed:
                return False
            found = self._least_wanted(host_pool, idle=False)
        if found is None:
            return False
        self.leaving.add(found)
        found.close()
        return not self.is_full

    def _least_wanted(self, host_pool: HostPool, *, idle: bool) -> UpstreamConnection | None:
        found = host_pool.free.take_oldest(next(iter(host_pool.waiting.turns)), None, idle=idle)
        if found is not None:
            return found
        for other in self:
            if other is not host_pool and (found := other.free.take_oldest(idle=idle)) is not None:
                return found
        return None


def fail_call(caller: CallObserver, error: UpstreamError) -> None:
    """Fail a call, unless it is over; who is told after it is told in any case."""
    if not caller.over:
        guarded(caller.failed, error)
