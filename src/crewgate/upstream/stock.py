"""The connections of one worker to one member of an upstream, and the calls that wait for one.

Decides nothing: which member, how many connections and what a failure means is the pool's.
"""

from collections import deque

from crewgate.errors import UpstreamError
from crewgate.upstream.call import Caller, Connection
from crewgate.upstream.members import Member


class Stock:
    """What there is for `member`: all connections, those with room, and who waits until when.

    The last of `free` is used next, so that those which are not needed grow old.
    """

    __slots__ = ("all", "free", "member", "opening", "waiting")

    def __init__(self, member: Member) -> None:
        self.member = member
        self.all: set[Connection] = set()
        self.free: list[Connection] = []
        self.opening = 0
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
