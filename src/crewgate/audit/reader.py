"""Asks the audit's files with DuckDB: who called what, under which grant, at what cost.

The files stay what they are, lines of JSON; nothing is imported or indexed, so that an answer is
never older than the last record. A line that a power loss or a full disk cut is counted and
skipped. Whatever a person typed reaches the engine as a parameter only.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from crewgate.audit import duckdb_queries
from crewgate.audit import folder as audit_folder
from crewgate.audit.filters import AuditFilter, GroupBy
from crewgate.errors import AuditError

_ATTEMPTS_MAX = 3  # a file may be deleted by a rotation between the listing and the reading


class CallRow(msgspec.Struct, frozen=True):
    """One call, one stream that is still open, or one burned reservation, newest last.

    `outcome` is a call's, or `open` or `burned`; `reason` is a refusal's slug or why it burned.
    """

    time: datetime
    machine: str  # that judged it; empty for one without a name
    request: str
    crew: str
    orchestrator: str
    process: str
    role: str
    branch: str
    ancestry: list[str]
    grant: str
    subject: str
    listener: str
    peer: str
    tool: str
    method: str
    verdict: str
    outcome: str
    reason: str
    would: str
    level: str
    cost_micro: int
    remaining_micro: int | None
    quota_micro: int | None
    status: int
    bytes_in: int
    bytes_out: int
    duration_us: int | None
    certificate: str  # serial of the connection's; empty without one
    overrun_micro: int = 0  # what the answer stated beyond the cost, which nobody paid
    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0


class CallGroup(msgspec.Struct, frozen=True):
    """Sums over the calls of one branch, crew, role, tool or day; `key` names it ("" for no group).

    `cost_micro` is what settled calls cost, `burned_micro` what burned reservations took: together
    they are spent. `overrun_micro` is what answers stated beyond that, which nobody paid for.
    `crew`, `role` and `parent` are filled in where they are the same for all.
    """

    key: str
    crew: str
    role: str
    parent: str
    calls: int
    permitted: int
    denied: int
    would_deny: int
    open: int
    burned: int
    cost_micro: int
    burned_micro: int
    overrun_micro: int
    quota_micro: int | None
    first: datetime | None
    last: datetime | None


class RejectedConnection(msgspec.Struct, frozen=True):
    """A connection that was refused, or ended, for its certificate; nothing of HTTP was read.

    `serial` and `subject` are its own words, believed only where `proven`; crew and orchestrator
    are empty otherwise.
    """

    time: datetime
    listener: str
    peer: str
    verdict: str
    reason: str
    proven: bool
    crew: str
    orchestrator: str
    serial: str
    subject: str


class RefusalSummary(msgspec.Struct, frozen=True):
    """Refusals before a good signature, by listener, reason and peer network."""

    listener: str
    reason: str
    peer: str
    count: int
    first: datetime
    last: datetime


class MintingWatchEvent(msgspec.Struct, frozen=True):
    """One strike or step of the minting watch (`core.record.Watch`), newest last.

    `usual` is None where the limit was a ceiling; without a `measure` the step had no finding.
    """

    time: datetime
    crew: str
    orchestrator: str
    step: str
    was: str
    level: str
    in_force: str
    by: str
    branch: str
    measure: str
    value: int
    limit: int
    usual: int | None


class AuditGaps(msgspec.Struct, frozen=True):
    """What the answers cannot contain: records lost to a full disk, lines that are no record."""

    files: int
    bytes: int
    lost_records: int
    unreadable_lines: int


class AuditReader:
    """The records of one folder; each answer reads the files as they are at that moment."""

    def __init__(self, folder: Path) -> None:
        """Ask the files in `folder`; a folder that is not there has no records."""
        self._folder = folder
        self._engine = duckdb.connect(":memory:", config=dict(duckdb_queries.ENGINE))

    def close(self) -> None:
        """Let go of the engine's memory and threads."""
        self._engine.close()

    def calls(self, question: AuditFilter) -> list[CallRow]:
        """The newest `question.limit` rows that match, oldest of them first."""
        rows = self._ask(duckdb_queries.CALLS, question, {"limit": question.limit})
        return msgspec.convert(rows, list[CallRow])[::-1]

    def groups(self, question: AuditFilter, by: GroupBy) -> list[CallGroup]:
        """Sums by branch, crew, role or tool, the most expensive first; or by day, in order."""
        return msgspec.convert(self._ask(duckdb_queries.GROUPS[by], question), list[CallGroup])

    def total(self, question: AuditFilter) -> CallGroup:
        """Sums over everything that matches."""
        return msgspec.convert(self._ask(duckdb_queries.TOTAL, question)[0], CallGroup)

    def connections(self, question: AuditFilter) -> list[RejectedConnection]:
        """The newest `question.limit` connections turned away, oldest of them first.

        Of the question, crew, certificate and time count.
        """
        rows = self._ask(duckdb_queries.CONNECTIONS, question, {"limit": question.limit})
        return msgspec.convert(rows, list[RejectedConnection])[::-1]

    def refusals(self, since: datetime | None = None) -> list[RefusalSummary]:
        """Whom nobody could prove to be anybody, the most frequent first."""
        return msgspec.convert(
            self._ask(duckdb_queries.REFUSALS, AuditFilter(since=since)), list[RefusalSummary]
        )

    def watched(self, question: AuditFilter) -> list[MintingWatchEvent]:
        """The newest `question.limit` strikes and steps of a crew, or that one branch brought."""
        rows = self._ask(duckdb_queries.WATCH, question, {"most": question.limit})
        return msgspec.convert(rows, list[MintingWatchEvent])[::-1]

    def health(self, since: datetime | None = None) -> AuditGaps:
        """How complete the answers are; lines count whatever their time, being unreadable."""
        [row] = self._ask(duckdb_queries.HEALTH, AuditFilter(since=since))
        files = audit_folder.files(self._folder)
        return AuditGaps(files=len(files), bytes=audit_folder.size(self._folder), **row)

    def _ask(
        self, statement: str, question: AuditFilter, more: Mapping[str, object] | None = None
    ) -> list[dict[str, Any]]:
        for attempt in range(1, _ATTEMPTS_MAX + 1):
            names = self._files(question.since)
            values = {
                "files": names,
                **duckdb_queries.parameters(question, statement),
                **(more or {}),
            }
            try:
                answer = self._engine.execute(statement, values)
                columns = [column[0] for column in answer.description]
                return [
                    dict(zip(columns, map(_aware, row), strict=True)) for row in answer.fetchall()
                ]
            except duckdb.IOException as error:
                if attempt == _ATTEMPTS_MAX:
                    raise AuditError(f"audit folder {self._folder}: {error}") from error
            except duckdb.Error as error:
                raise AuditError(f"audit folder {self._folder}: {error}") from error
        raise AssertionError("the last attempt answers or raises")

    def _files(self, since: datetime | None) -> list[str]:
        """Files that may hold something newer than `since`, as patterns that match only them."""
        paths = audit_folder.files(self._folder)
        if since is not None:
            paths = [path for path in paths if _changed(path) >= since.timestamp()]
        return [duckdb_queries.literal_path(str(path)) for path in paths] or [os.devnull]


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _aware(value: object) -> object:
    """The engine's timestamps are UTC and do not say so."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
