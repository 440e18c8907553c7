"""Checks tokens against the revocations in the agent's shared table.

Maps the table that the agent hands out, as any process of this machine does, and only reads it.
While the agent does not confirm that the table is fresh, or other machines may know revocations
that it lacks, no token can be called active.
"""

import threading
import time
from pathlib import Path

from crewgate import limits
from crewgate._native.table import Table
from crewgate.core.revocation_kinds import branch_ending_keys, keys_of, subject_keys
from crewgate.core.tokens.claims import Claims
from crewgate.errors import ServiceConnectionError
from crewgate.ipc.readonly_table import open_table


class TokenRevocationCheck:
    """The table of the agent whose state is in `folder`. Threads may share it; a lock guards it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._table: Table | None = None
        self._since = 0.0

    def close(self) -> None:
        """Unmap the table."""
        with self._lock:
            self._unmap()

    def is_dead(self, claims: Claims, kid: str) -> bool:
        """Whether the token itself, or anything that it names, is revoked.

        Raises ServiceConnectionError while the agent is unavailable, or does not confirm that the
        table is fresh and has what a majority of the members knows. Blocks for a millisecond once a
        second.
        """
        with self._lock:
            table = self._current()
            return any(table.is_revoked(key, claims.iat) for key in keys_of(claims, kid))

    def is_branch_revoked(self, claims: Claims) -> bool:
        """Whether the branch of the token, a branch above it, or its subject is revoked.

        Raises and blocks as `is_dead` does.
        """
        with self._lock:
            table = self._current()
            return any(table.is_revoked(key) for key in branch_ending_keys(claims))

    def is_subject_revoked(self, crew: str, subject: str) -> bool:
        """Whether all tokens of a subject are revoked, in this crew or in all.

        Raises and blocks as `is_dead` does.
        """
        with self._lock:
            table = self._current()
            return any(table.is_revoked(key) for key in subject_keys(crew, subject))

    def _current(self) -> Table:
        """Return the table; ask the agent for it again after a second, since it may be replaced."""
        now = time.monotonic()
        if self._table is None or now - self._since >= limits.tree_seconds or self._table.retired:
            self._unmap()
            self._table, self._since = open_table(self._folder), now
        boot_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if boot_ns >= self._table.fresh_until:
            raise ServiceConnectionError(
                f"{self._folder}: the agent does not confirm that the table is fresh"
            )
        if boot_ns >= self._table.synced_until:
            raise ServiceConnectionError(
                f"{self._folder}: the table may lack revocations of a majority of the members"
            )
        return self._table

    def _unmap(self) -> None:
        if self._table is not None:
            self._table.close()
            self._table = None
