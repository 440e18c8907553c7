"""The control process's view of the shared table: whether what a token names is revoked now.

Maps the table that the agent hands out, as any process of the machine does; reads it and nothing
else. While nobody vouches for it, or other machines may know more than is entered there, nobody can
say that something is not revoked.
"""

import threading
import time
from pathlib import Path

from crewgate import limits
from crewgate._native.table import Table
from crewgate.core.revocation_kinds import keys_of
from crewgate.core.tokens.claims import Claims
from crewgate.errors import LinkError
from crewgate.ipc.readonly_table import open_table


class TableView:
    """The table of the agent whose state is in `folder`; from any thread, one at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._table: Table | None = None
        self._since = 0.0

    def close(self) -> None:
        """Let the table go."""
        with self._lock:
            self._forget()

    def is_dead(self, claims: Claims, kid: str) -> bool:
        """Whether a token is dead by anything that it names.

        LinkError while there is no agent, or none that vouches for its table, or for its having
        what a majority of the members knows. Blocks, once a second for a millisecond.
        """
        with self._lock:
            table = self._current()
            return any(table.is_revoked(key, claims.iat) for key in keys_of(claims, kid))

    def _current(self) -> Table:
        """The table in force: mapped for a second, then asked for again, should it be another."""
        now = time.monotonic()
        if self._table is None or now - self._since >= limits.tree_seconds or self._table.retired:
            self._forget()
            self._table, self._since = open_table(self._folder), now
        boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if boot_ns >= self._table.fresh_until:
            raise LinkError(f"{self._folder}: nobody vouches for the table")
        if boot_ns >= self._table.synced_until:
            raise LinkError(
                f"{self._folder}: the table may lack what a majority of the members has revoked"
            )
        return self._table

    def _forget(self) -> None:
        if self._table is not None:
            self._table.close()
            self._table = None
