"""The connections of one worker to the members of an upstream, and the calls that wait for one.

Decides nothing: which member, how many connections and what a failure means is the pool's.
"""

from collections import deque
from collections.abc import Iterator

from crewgate.errors import UpstreamError
from crewgate.upstream.call import Caller, Connection
from crewgate.upstream.members import Member


class Stock:
    """What there is for `member`: all connections, those with room, and who waits until when.

    The last of `free` is used next, so that those which are not needed grow old.
    """

    __slots__ = ("all", "free", "member", "opening", "serving", "waiting")

    def __init__(self, member: Member) -> None:
        self.member = member
        self.all: set[Connection] = set()
        self.free: list[Connection] = []
        self.opening = 0
        self.serving = False  # who waits is being given what is free
        self.waiting: deque[tuple[Caller, float]] = deque()

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
        """Have a connection with room carry the call; False if there is none."""
        free = self.free
        while free:
            connection = free[-1]
            if not connection.is_usable(caller):
                free.pop()
                connection.close()
                continue
            if connection.room == 1:
                free.pop()
            connection.carry(caller)
            return True
        return False

    def forget(self, connection: Connection) -> None:
        """Drop a connection that is closed."""
        self.all.discard(connection)
        if connection in self.free:
            self.free.remove(connection)

    def close(self) -> None:
        """Close what is not in use."""
        for connection in list(self.all):
            connection.close()


class Stocks:
    """The stocks of all members of an upstream, which share `most` connections."""

    def __init__(self, most: int) -> None:
        self.by_member: dict[Member, Stock] = {}
        self.of: dict[Connection, Stock] = {}
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
        """Close an idle connection of another member than this; False if there is none."""
        for other in self:
            if other is not stock and other.free:
                other.free[0].close()
                return not self.is_full
        return False


def late(waiting: deque[tuple[Caller, float]], now: float) -> list[Caller]:
    """Take out of a queue who has waited too long, or is over."""
    kept = [(caller, until) for caller, until in waiting if not caller.over and now <= until]
    gone = [caller for caller, until in waiting if caller.over or now > until]
    waiting.clear()
    waiting.extend(kept)
    return gone


def tell(caller: Caller, error: UpstreamError) -> None:
    """Fail a call, unless it is over."""
    if not caller.over:
        caller.failed(error)
