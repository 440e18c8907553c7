"""The connections of one worker to the members of an upstream, and the calls that wait for one.

Decides nothing: which member, how many connections and what a failure means is the pool's.
"""

from collections import OrderedDict
from collections.abc import Iterator

from crewgate.errors import UpstreamError
from crewgate.upstream.balancer import Member
from crewgate.upstream.error_barrier import guarded
from crewgate.upstream.interfaces import Alone, Caller, Connection, ReuseKey
from crewgate.upstream.wait_queue import Entry, Queue


class Free:
    """Connections with room, by the reuse key whose calls they carry; None: no call's yet.

    The last one of a key is used next, so that those which are not needed grow old.
    """

    __slots__ = ("_by_key",)

    def __init__(self) -> None:
        self._by_key: OrderedDict[ReuseKey | None, list[Connection]] = OrderedDict()

    def __len__(self) -> int:
        return sum([len(each) for each in self._by_key.values()])

    def __contains__(self, key: ReuseKey) -> bool:
        return key in self._by_key or None in self._by_key

    def add(self, connection: Connection) -> None:
        """Keep a connection, the last that was used."""
        key = connection.reuse_key
        self._by_key.setdefault(key, []).append(connection)
        self._by_key.move_to_end(key)

    def take(self, key: ReuseKey) -> Connection | None:
        """Take out one that may carry a call of `key`; None if there is none."""
        for each in (key, None):
            found = self._by_key.get(each)
            if found:
                connection = found.pop()
                if not found:
                    del self._by_key[each]
                return connection
        return None

    def take_oldest(self, *but: ReuseKey | None, idle: bool) -> Connection | None:
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

    def discard(self, connection: Connection) -> None:
        """Drop a connection, if it is there."""
        found = self._by_key.get(connection.reuse_key, [])
        if connection in found:
            found.remove(connection)
            if not found:
                del self._by_key[connection.reuse_key]


class Stock:
    """What there is for `member`: all connections, those with room, and who waits until when."""

    __slots__ = ("all", "free", "member", "opening", "serving", "waiting")

    def __init__(self, member: Member, calls_each: int) -> None:
        """A connection carries up to `calls_each` calls at once."""
        self.member = member
        self.all: set[Connection] = set()
        self.free = Free()
        self.opening = 0
        self.serving = False  # who waits is being given what is free
        self.waiting = Queue(calls_each)

    def __repr__(self) -> str:
        return (
            f"<Stock of {self.member!r}: {len(self.all)} open, {len(self.free)} with room, "
            f"{len(self.waiting)} waiting>"
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to remember."""
        return not (self.all or self.opening or self.waiting)

    def carry(self, caller: Caller) -> bool:
        """Have a connection with room carry the call; False if there is none for it."""
        free, key = self.free, caller.reuse_key
        while (connection := free.take(key)) is not None:
            if not connection.is_usable(caller):
                connection.close()
                continue
            connection.reuse_key = key
            is_alone = isinstance(key, Alone)
            if connection.room > 1 and not is_alone:
                free.add(connection)
            connection.carry(caller)
            if is_alone:
                connection.close()  # when this call has ended
            return True
        return False

    def take_next(self, promised: int) -> Entry | None:
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

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is closed."""
        self.all.discard(connection)
        self.free.discard(connection)

    def close(self) -> None:
        """Close what is not in use."""
        for connection in list(self.all):
            connection.close()


class Stocks:
    """The stocks of all members of an upstream, which share `most` connections.

    `resting` are those that are not to be used yet, and until when (monotonic seconds): they count
    as open, and are the first to make room.
    """

    def __init__(self, most: int) -> None:
        self.by_member: dict[Member, Stock] = {}
        self.of: dict[Connection, Stock] = {}
        self.resting: dict[Connection, float] = {}
        self.leaving: set[Connection] = set()  # closed to make room, with calls on them
        self._most = most

    def __iter__(self) -> Iterator[Stock]:
        """All of them, whatever is done to them meanwhile."""
        return iter(list(self.by_member.values()))

    @property
    def is_empty(self) -> bool:
        """Whether no connection is open or being made, and nobody waits for one."""
        return not self.of and all(stock.is_empty for stock in self.by_member.values())

    @property
    def is_full(self) -> bool:
        """Whether no further connection may be made."""
        opening = sum([stock.opening for stock in self.by_member.values()])
        return len(self.of) + opening >= self._most

    def add(self, connection: Connection, stock: Stock) -> None:
        """Take a connection that has been made."""
        stock.all.add(connection)
        self.of[connection] = stock

    def forget(self, connection: Connection) -> bool:
        """Drop a connection that is closed; False if that has been done before."""
        stock = self.of.pop(connection, None)
        if stock is None:
            return False
        self.resting.pop(connection, None)
        self.leaving.discard(connection)
        stock.forget(connection)
        self.tidy(stock)
        return True

    def tidy(self, stock: Stock) -> None:
        """Drop what was kept for a member that is gone, once nothing is left of it."""
        if stock.member.gone and stock.is_empty:
            self.by_member.pop(stock.member, None)

    def is_in_the_way(self, stock: Stock) -> bool:
        """Return whether a member's connections keep another's waiting calls from having one."""
        if len(self.by_member) == 1 or not self.is_full:
            return False
        return any(other.waiting for other in self.by_member.values() if other is not stock)

    def make_room(self, stock: Stock) -> bool:
        """Close a connection that none of those who wait for `stock` may use.

        One that carries no call gives it at once, so that those with calls come last. False if
        that has given no room: there is none, or it carries calls of others to their end.
        """
        found = next(iter(self.resting), None) or self._least_wanted(stock, idle=True)
        if found is None:
            if len(self.leaving) + stock.opening >= stock.waiting.needed:
                return False
            found = self._least_wanted(stock, idle=False)
        if found is None:
            return False
        self.leaving.add(found)
        found.close()
        return not self.is_full

    def _least_wanted(self, stock: Stock, *, idle: bool) -> Connection | None:
        found = stock.free.take_oldest(next(iter(stock.waiting.turns)), None, idle=idle)
        if found is not None:
            return found
        for other in self:
            if other is not stock and (found := other.free.take_oldest(idle=idle)) is not None:
                return found
        return None


def tell(caller: Caller, error: UpstreamError) -> None:
    """Fail a call, unless it is over; who is told after it is told in any case."""
    if not caller.over:
        guarded(caller.failed, error)
