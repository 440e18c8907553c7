"""The live feed: reads while anybody watches, and gives each watcher the newest state.

No method but `run` waits, so no watcher delays another one, or the reader.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import trio

from crewgate import limits
from crewgate.alerts.alert import Alert
from crewgate.alerts.budget_watch import CrewAllowance
from crewgate.alerts.local_machine import LocalMachine
from crewgate.core.problem_types import TOO_MANY_REQUESTS
from crewgate.runtime.nursery import open_nursery
from crewgate.ui.live import machine_alerts
from crewgate.ui.live.alert_list import AlertList
from crewgate.ui.live.machine_alerts import ReportedAlerts
from crewgate.ui.live.machine_list import MachineList
from crewgate.ui.live.reader import LiveReader, Reading
from crewgate.ui.live.update import TreeUpdate
from crewgate.ui.live.watcher import Document, Watcher

_log = logging.getLogger(__name__)


class LiveFeed:
    """The state that all watchers see; `tree` is None before the first reading.

    `documents` makes the other events, by their names; it is replaced, and never changed.
    """

    def __init__(
        self, local: LocalMachine, allowances: Callable[[], Mapping[str, CrewAllowance]]
    ) -> None:
        """`local` is this machine, and `allowances` returns those of the crews."""
        self.tree: TreeUpdate | None = None
        self.documents: Mapping[str, Document] = {}
        self._local, self._allowances = local, allowances
        self._watchers: set[Watcher] = set()
        self._persons: Counter[str] = Counter()
        self._first = trio.Event()
        self._hurry = trio.Event()
        self._alerts_due = trio.Event()
        self._trouble = ""
        self._reported = ReportedAlerts({}, [])
        self._active: tuple[Alert, ...] = ()

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
            self._persons += Counter()  # forget persons who watch no more

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
            try:
                async with open_nursery() as nursery:
                    nursery.start_soon(self._read_alerts)
                    await self._read()
                    nursery.cancel_scope.cancel()
            finally:
                self.tree, self.documents = None, {}
                self._reported, self._active = ReportedAlerts({}, []), ()

    async def _read(self) -> None:
        reader, watched_at = self._reader(), trio.current_time()
        try:
            # A browser that loads the page again finds what it left.
            while self._watchers or trio.current_time() < watched_at + limits.ui_linger_seconds:
                began = trio.current_time()
                watched_at = began if self._watchers else watched_at
                if not await self._read_once(reader):
                    reader.close()
                    reader = self._reader()
                lasted = trio.current_time() - began
                with trio.move_on_after(pause(lasted)):
                    await self._hurry.wait()
                self._hurry = trio.Event()
        finally:
            reader.close()
        self._first = trio.Event()

    async def _read_once(self, reader: LiveReader) -> bool:
        """Return whether the reader can go on; no answer of a machine may end the page."""
        try:
            # A thread that waits for the agent must not hold up the end of the process.
            reading = await trio.to_thread.run_sync(reader.read, abandon_on_cancel=True)
            self.publish(reading)
        except Exception as error:  # noqa: BLE001 - see above
            if type(error).__name__ != self._trouble:
                self._trouble = type(error).__name__
                _log.warning("what machines have answered cannot be shown: %s", self._trouble)
            return False
        return True

    def _reader(self) -> LiveReader:
        return LiveReader(self._local, self._allowances())

    async def _read_alerts(self) -> None:
        """Ask for alerts again and again, sooner after something has happened."""
        while True:
            work = partial(machine_alerts.ask, self._local.state, self._local.name)
            self._reported = await trio.to_thread.run_sync(work, abandon_on_cancel=True)
            self._show_alerts()
            await trio.sleep(limits.ui_alerts_seconds_min)
            with trio.move_on_after(limits.ui_alerts_seconds - limits.ui_alerts_seconds_min):
                await self._alerts_due.wait()
            self._alerts_due = trio.Event()

    def hurry(self) -> None:
        """Have the next reading made at once: something has just been done."""
        self._hurry.set()
        self._alerts_due.set()

    def publish(self, reading: Reading) -> None:
        """Take a reading, and have all watchers look at it."""
        self.tree = reading.tree
        if reading.health is not None:
            self._show("machines", MachineList.of(reading.health).document)
        if reading.has_step:
            self._alerts_due.set()
        if reading.active is not None:
            self._active = reading.active
            self._show_alerts()
        for watcher in self._watchers:
            watcher.put(reading.tree)

    def _show_alerts(self) -> None:
        found = AlertList.of(self._reported.alerts, self._reported.not_asked, self._active)
        self._show("alerts", found.document)

    def _show(self, name: str, document: Document) -> None:
        self.documents = {**self.documents, name: document}


def pause(lasted: float) -> float:
    """Return the seconds until the next reading, after one that `lasted` so many."""
    return max(limits.ui_read_seconds - lasted, lasted / limits.ui_read_share - lasted, 0.0)
