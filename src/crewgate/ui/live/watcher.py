"""One browser that watches: what waits for it, and whether it must begin anew."""

from collections import deque
from collections.abc import Callable

import trio

from crewgate import limits
from crewgate.ui.live.update import TreeUpdate
from crewgate.ui.person import ALL_CREWS, Person, Right


class View:
    """What a person may view, at one moment."""

    def __init__(self, person: Person) -> None:
        self.crews = person.rights.get(Right.VIEW, frozenset())
        self.is_whole = ALL_CREWS in self.crews
        self._person = person

    def sees(self, crew: str) -> bool:
        """Return whether the person may view a crew; an empty name is what is of no crew."""
        return self._person.may(Right.VIEW, crew)


# Makes the JSON of what a person may see.
Document = Callable[[View], bytes]


class Watcher:
    """A queue of updates; an update that finds it full has the watcher begin anew."""

    def __init__(self) -> None:
        self._waiting: deque[TreeUpdate] = deque()
        self._must_begin = True
        self._news = trio.Event()

    def put(self, update: TreeUpdate) -> None:
        """Add an update. Never waits."""
        if len(self._waiting) >= limits.ui_watcher_updates_max or update.is_reset:
            self._waiting.clear()
            self._must_begin = True
        if not self._must_begin:
            self._waiting.append(update)
        self.wake()

    def wake(self) -> None:
        """Have the watcher look at what is new."""
        self._news.set()

    def must_begin(self) -> bool:
        """Return whether the watcher begins anew, with the newest update; it then has begun."""
        must, self._must_begin = self._must_begin, False
        if must:
            self._waiting.clear()
        return must

    def next(self) -> TreeUpdate | None:
        """Return the next update; None if none waits."""
        return self._waiting.popleft() if self._waiting else None

    async def wait(self, seconds: float) -> bool:
        """Wait until something is new, and return True; or return False after so long."""
        with trio.move_on_after(seconds):
            await self._news.wait()
        is_new, self._news = self._news.is_set(), trio.Event()
        return is_new
