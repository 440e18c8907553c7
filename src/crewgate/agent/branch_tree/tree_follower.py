"""Follows the branch tree of this machine for those who ask again and again. Threads call it."""

import os
import threading
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from crewgate import limits
from crewgate._native.records import BranchRecord
from crewgate.agent.branch_tree.inputs import TreeInputs
from crewgate.agent.branch_tree.remote_usage import RemoteUsage
from crewgate.agent.branch_tree.tree import BranchTree, RowName
from crewgate.ipc.admin_messages import TreeRow

_SECOND_NS = 10**9
_NEVER_NS = -(2**62)


class TreeSource(Protocol):
    """Where the tree is read from: `tree_reader.TreeReader`."""

    def boot_ns(self) -> int:
        """Return CLOCK_BOOTTIME."""

    def records(self) -> list[BranchRecord]:
        """Return copies of the records of the table."""

    def others(self, records: list[BranchRecord]) -> Mapping[bytes, RemoteUsage] | None:
        """Return what the ledger says of others; None while it does not answer."""

    def inputs(
        self, records: list[BranchRecord], others: Mapping[bytes, RemoteUsage], boot_ns: int
    ) -> TreeInputs:
        """Return all that the tree is made from."""


class FollowedRows(NamedTuple):
    """The rows that have changed since the cursor of an earlier answer, and the new `cursor`.

    If `is_whole`, they are all rows, and none is gone. `boot_ns` is the moment of the reading.
    """

    cursor: str
    rows: list[TreeRow]
    gone: list[RowName]
    is_whole: bool
    boot_ns: int


class TreeFollower:
    """One tree for all who ask again and again. It reads at most twice a second, and only if asked.

    The amounts of other machines are some seconds old (`limits.tree_ledger_seconds`), since the
    ledger is half of what a tree costs.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._tree = BranchTree()
        self._id = os.urandom(8).hex()
        self._others: Mapping[bytes, RemoteUsage] = {}
        self._read_ns = self._ledger_due_ns = _NEVER_NS

    def ask(self, source: TreeSource, cursor: str, rows_max: int) -> FollowedRows:
        """Return what has changed since `cursor`, or all rows for one that is not known any more.

        If there are more than `rows_max` rows, the cursor is empty: the caller leaves some rows
        out, so the next answer must have all rows again.
        """
        with self._lock:
            self._read(source)
            name, _, number = cursor.partition("-")
            is_bounded = len(self._tree) <= rows_max
            found = None
            if is_bounded and name == self._id and number.isdecimal():
                found = self._tree.changes(int(number))
            new = f"{self._id}-{self._tree.reading}" if is_bounded else ""
            is_whole = found is None
            rows, gone = found or (self._tree.rows(), [])
            return FollowedRows(new, rows, gone, is_whole, self._read_ns)

    def forget_unused(self, boot_ns: int) -> None:
        """Free the memory of the tree if no question has come for a while. It never waits."""
        unused = limits.tree_unused_seconds * _SECOND_NS
        if self._tree.reading == 0 or boot_ns < self._read_ns + unused:
            return
        if self._lock.acquire(blocking=False):
            try:
                self._forget()
            finally:
                self._lock.release()

    def _read(self, source: TreeSource) -> None:
        now = source.boot_ns()
        if now < self._read_ns + limits.tree_read_seconds_min * _SECOND_NS:
            return
        try:
            records = source.records()
            if now >= self._ledger_due_ns:
                self._read_ledger(source, records, now)
            self._tree.take(source.inputs(records, self._others, now))
        except BaseException:
            self._forget()  # it may have taken half of a reading
            raise
        self._read_ns = now

    def _read_ledger(self, source: TreeSource, records: list[BranchRecord], now: int) -> None:
        found = source.others(records)
        if found is not None:
            self._others = found
        lasted = (source.boot_ns() - now) / _SECOND_NS
        pause = max(limits.tree_ledger_seconds, lasted / limits.tree_ledger_share)
        seconds = min(pause, limits.tree_ledger_seconds_max)
        self._ledger_due_ns = now + round(seconds * _SECOND_NS)
