"""Has the agent sign, every few seconds, what the audit of its machine holds.

All of it is done in a thread, because the disk may take long. Calls never wait for it.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import trio

from crewgate import limits
from crewgate.audit.checkpoints.keeper import CheckpointKeeper
from crewgate.audit.checkpoints.log import newest_checkpoints
from crewgate.audit.checkpoints.signing_key import CheckpointKey
from crewgate.config import Config
from crewgate.core.health import ComponentHealth, degraded, ok
from crewgate.errors import ConfigurationError
from crewgate.runtime.durable_files import describe
from crewgate.runtime.fault_transition_logger import FaultTransitionLogger
from crewgate.runtime.ticks import sleep_until_tick

COMPONENT = "checkpoints of the audit"
_log = logging.getLogger(__name__)
_RECOVERED = "the audit is signed again"


class AuditCheckpoints:
    """The checkpoints of the audit folder that `config` names.

    A reload or a restart can name another: then it also signs what the processes that run write
    into the folder of before, until they have left its files. `on_taken` gets the number and the
    digest of the newest checkpoint in the folder of now, in any thread.
    """

    def __init__(
        self, config: Callable[[], Config], *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._now = now
        self._began: float | None = None  # when the work in progress did
        self.on_taken: Callable[[int, str], object] = lambda _number, _digest: None
        self._keepers: dict[str, CheckpointKeeper] = {}  # by the real path of the folder
        self._trouble = FaultTransitionLogger(_log.warning, recovered=_RECOVERED)
        self._lock = threading.Lock()  # a disk that hangs may hold the thread at the end

    async def keep_for_ever(self) -> None:
        """Sign what is new until cancelled."""
        while True:
            await trio.to_thread.run_sync(self.take, abandon_on_cancel=True)
            await sleep_until_tick(limits.audit_checkpoint_seconds)

    def take(self) -> None:
        """Sign what is new now. Blocks."""
        if not self._lock.acquire(timeout=limits.audit_end_seconds_max):
            return
        self._began = self._now()
        try:
            self._take(self._config())
        finally:
            self._began = None
            self._lock.release()

    def end(self) -> None:
        """Sign the last lines, and close the log. Blocks."""
        self.take()
        for keeper in self._keepers.values():
            keeper.close()

    def fact(self) -> ComponentHealth:
        """Return whether the audit is signed, and is as it was signed."""
        began = self._began
        late = 0.0 if began is None else self._now() - began
        if late >= limits.audit_checkpoint_late_seconds:
            folder = self._config().audit.folder
            why = f"reading and signing the audit in {folder} has taken {late:.0f} seconds so far"
            return degraded(COMPONENT, why, "if this goes on, look at the disk of this folder")
        if not self._trouble.why:
            return ok(COMPONENT)
        mend = f"run `crewgate audit verify -c {self._config().path}`"
        return degraded(COMPONENT, self._trouble.why, mend, logged=True)

    def _take(self, config: Config) -> None:
        try:
            keeper, *others = self._open_keepers(config)
            keeper.take()
            if keeper.newest is not None:
                self.on_taken(*keeper.newest)
            for other in others:
                other.take()
        except ConfigurationError as error:
            self._trouble.note(f"the lines of the audit are not signed: {error}")
        except OSError as error:
            self._trouble.note(f"the lines of the audit are not signed: {describe(error)}")
        else:
            names = [name for each in (keeper, *others) for name in each.changed]
            more = f" and {len(names) - 1} more files" if len(names) > 1 else ""
            self._trouble.note(
                f"the audit file {names[0]}{more} changed after its lines were signed"
                if names else ""
            )  # fmt: skip

    def _open_keepers(self, config: Config) -> list[CheckpointKeeper]:
        """Return that of the folder of now, and those of before that are still written."""
        now = os.path.realpath(config.audit.folder)
        before = [] if self._keepers else [*newest_checkpoints(config.state)]
        for folder in [now, *filter(os.path.isdir, before)]:
            if folder not in self._keepers:
                key = CheckpointKey.load_or_make(config.state)
                keeper = CheckpointKeeper(Path(folder), config.state, key, config.name)
                self._keepers[folder] = keeper
        for folder, keeper in [*self._keepers.items()]:
            if folder != now and not (keeper.is_written and keeper.folder.is_dir()):
                keeper.close()
                del self._keepers[folder]
        return sorted(self._keepers.values(), key=lambda each: each.folder != Path(now))
