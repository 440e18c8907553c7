"""Writes the files of endpoints whose pins have changed, and runs what waits for the disk."""

import logging
from collections.abc import Callable

import trio

from crewgate import limits
from crewgate.agent.tool_pins.pin_files import PinFiles
from crewgate.core.mcp.pins.endpoint_pins import SavedPins
from crewgate.runtime.durable_files import describe

_log = logging.getLogger(__name__)


class PinWriter:
    """The endpoints to write. `saved` returns what the file of an endpoint must have.

    `error` says why the last write failed; it is empty after a good one.
    """

    def __init__(self, files: PinFiles, saved: Callable[[str], SavedPins]) -> None:
        self._files, self._saved = files, saved
        self._unsaved: set[str] = set()
        self._waiting: list[Callable[[], None]] = []
        self._has_work = trio.Event()
        self._lock = trio.Lock()
        self.error = ""

    def add(self, endpoint: str) -> None:
        """Write the file of an endpoint soon."""
        self._unsaved.add(endpoint)
        self._has_work.set()

    def when_saved(self, act: Callable[[], None]) -> None:
        """Call `act` once the disk has all present changes; at once if it has them already."""
        if self._unsaved or self._lock.locked():
            self._waiting.append(act)
        else:
            act()

    async def run(self) -> None:
        """Write whenever there is something to write, until cancelled."""
        while True:
            await self._has_work.wait()
            self._has_work = trio.Event()
            await self.flush()
            if self._unsaved:
                self._has_work.set()
            pause = limits.mcp_pins_retry_seconds if self.error else limits.mcp_pins_write_seconds
            await trio.sleep(pause)

    async def flush(self) -> None:
        """Write what is to be written; a failure is logged, and stays to be written."""
        async with self._lock:
            unsaved, self._unsaved = self._unsaved, set()
            waiting, self._waiting = self._waiting, []
            if unsaved:
                contents = self._files.encode({name: self._saved(name) for name in unsaved})
                try:
                    await trio.to_thread.run_sync(self._files.write, contents)
                except OSError as error:
                    self._unsaved |= unsaved
                    self._waiting = waiting + self._waiting
                    self._note(describe(error))
                    return
                self._note("")
                if not self._unsaved:
                    # The disk has all that was there when these were added, during the write.
                    waiting, self._waiting = waiting + self._waiting, []
        for act in waiting:
            act()

    def _note(self, error: str) -> None:
        if error and not self.error:
            _log.warning(
                "%s; until then a restarted agent lacks the latest pins of MCP tools", error
            )
        self.error = error
