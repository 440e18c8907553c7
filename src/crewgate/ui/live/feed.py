"""The live feed: reads while anybody watches, and gives each watcher the newest state.

No method but `run` waits, so no watcher delays another one, or the reader.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import trio

from crewgate import limits
from crewgate.core.problem_types import TOO_MANY_REQUESTS
from crewgate.ui.live.machine_list import MachineList
from crewgate.ui.live.reader import LiveReader, Reading
from crewgate.ui.live.update import TreeUpdate
from crewgate.ui.live.watcher import Document, Watcher


class LiveFeed:
    """The state that all watchers see; `tree` is None before the first reading.

    `documents` makes the other events, by their names; it is replaced, and never changed.
    """

    def __init__(self, folder: Path, machine: str) -> None:
        self.tree: TreeUpdate | None = None
        self.documents: Mapping[str, Document] = {}
        self._folder, self._machine = folder, machine
        self._watchers: set[Watcher] = set()
        self._persons: Counter[str] = Counter()
        self._first = trio.Event()
        self._hurry = trio.Event()

    @contextmanager
    def watching(self, person: str) -> Iterator[Watcher]:
        """Have a person watch while the block runs. Raises ControlError 429 over the limits."""
        self.demand_room(person)
        watcher = Watcher()
        self._watchers.add(watcher)
        self._persons[person] += 1
        self._first.set()
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
            self._persons[person] -= 1
            self._persons += Counter()  # forget whoever does not watch any more

    def demand_room(self, person: str) -> None:
        """Raise ControlError 429 if the person, or anybody, may watch no more."""
        most, each = limits.ui_watchers_max, limits.ui_watchers_each_max
        if len(self._watchers) >= most or self._persons[person] >= each:
            raise TOO_MANY_REQUESTS.error(
                f"{most} browsers may watch at once, {each} of one person; close another tab"
            )

    async def run(self) -> None:
        """Read while anybody watches, until cancelled."""
        while True:
            await self._first.wait()
            reader = LiveReader(self._folder, self._machine)
            try:
                await self._read(reader)
            finally:
                reader.close()
                self.tree, self.documents = None, {}

    async def _read(self, reader: LiveReader) -> None:
        while self._watchers:
            began = trio.current_time()
            # A thread that waits for the agent must not hold up the end of the process.
            reading = await trio.to_thread.run_sync(reader.read, abandon_on_cancel=True)
            self.publish(reading)
            lasted = trio.current_time() - began
            with trio.move_on_after(pause(lasted)):
                await self._hurry.wait()
            self._hurry = trio.Event()
        self._first = trio.Event()

    def hurry(self) -> None:
        """Have the next reading made at once: something has just been done."""
        self._hurry.set()

    def publish(self, reading: Reading) -> None:
        """Take a reading, and have all watchers look at it."""
        self.tree = reading.tree
        if reading.health is not None:
            self.documents = {"machines": MachineList.of(reading.health).document}
        for watcher in self._watchers:
            watcher.put(reading.tree)


def pause(lasted: float) -> float:
    """Return the seconds until the next reading, after one that `lasted` so many."""
    return max(limits.ui_read_seconds - lasted, lasted / limits.ui_read_share - lasted, 0.0)
