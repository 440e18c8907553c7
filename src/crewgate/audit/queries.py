"""Queries the audit files with DuckDB: who called what, under which grant, at what cost.

The files stay lines of JSON. Nothing is imported or indexed, so an answer is never older than the
last record. A line that a power loss or a full disk has cut is counted and skipped. Text from a
person reaches the engine only as a parameter.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import duckdb
import msgspec

from crewgate import limits
from crewgate.audit import duckdb_sql, query_results
from crewgate.audit import folder as audit_folder
from crewgate.audit.filters import AuditFilter, GroupBy
from crewgate.audit.replay.recorded_runs import RecordedRun, RunsFilter
from crewgate.core.reasons import Reason
from crewgate.errors import AuditReadError

T = TypeVar("T")
# A rotation may delete a file between the listing and the reading.
_ATTEMPTS_MAX = 3


class AuditQueries:
    """The records of one folder; each query reads the files again."""

    def __init__(self, folder: Path, engine: Mapping[str, str] | None = None) -> None:
        """Read the files in `folder`; a missing folder has no records.

        `engine` are further settings of DuckDB.
        """
        self._folder = folder
        settings = duckdb_sql.ENGINE | dict(engine or {})
        self._engine = duckdb.connect(":memory:", config=dict(settings))

    def close(self) -> None:
        """Release the memory and threads of the engine."""
        self._engine.close()

    def calls(self, question: AuditFilter) -> list[query_results.CallRow]:
        """Return the newest `question.limit` matching rows, the oldest of them first."""
        return self._query(duckdb_sql.CALLS, question, query_results.CallRow)[::-1]

    def grants(self, call: query_results.CallRow) -> list[query_results.GrantRow]:
        """Return the grants behind a call, the run's first; without those that are not here."""
        call_values = {
            "crew": call.crew,
            "grant": call.grant,
            "above": call.ancestry,
            "before": call.time.astimezone(UTC).replace(tzinfo=None),
        }
        return self._read(duckdb_sql.GRANTS, call_values, None, query_results.GrantRow)

    def grant_list(self, question: AuditFilter) -> list[query_results.GrantRow]:
        """Return the newest `question.limit` grants, the oldest of them first.

        Of the filters, only crew, branch and time apply.
        """
        return self._query(duckdb_sql.GRANT_LIST, question, query_results.GrantRow)[::-1]

    def groups(self, question: AuditFilter, by: GroupBy) -> list[query_results.CallGroup]:
        """Return sums by branch, crew, role or tool, the most expensive first.

        Sums by day are in their order, and so are those of the newest `question.limit` minutes.
        """
        found = self._query(duckdb_sql.GROUPS[by], question, query_results.CallGroup)
        return found[::-1] if by is GroupBy.MINUTE else found

    def total(self, question: AuditFilter) -> query_results.CallGroup:
        """Return the sums over everything that matches."""
        return self._query(duckdb_sql.TOTAL, question, query_results.CallGroup)[0]

    def connections(self, question: AuditFilter) -> list[query_results.RejectedConnection]:
        """Return the newest `question.limit` rejected connections, the oldest of them first.

        Of the filters, only crew, certificate and time apply.
        """
        return self._query(duckdb_sql.CONNECTIONS, question, query_results.RejectedConnection)[::-1]

    def refusals(
        self, since: datetime | None = None
    ) -> list[query_results.UnauthenticatedRefusals]:
        """Return the refusals before a good signature, the most frequent first."""
        return self._query(
            duckdb_sql.REFUSALS, AuditFilter(since=since), query_results.UnauthenticatedRefusals
        )

    def watched(self, question: AuditFilter) -> list[query_results.MintingWatchEvent]:
        """Return the newest `question.limit` strikes and transitions, the oldest of them first.

        Of the filters, only crew, branch and time apply.
        """
        return self._query(duckdb_sql.WATCH, question, query_results.MintingWatchEvent)[::-1]

    def rule_steps(self, question: AuditFilter) -> list[query_results.RecordedRuleStep]:
        """Return the newest `question.limit` steps of rules on branches, the oldest of them first.

        Of the filters, only crew, branch and time apply.
        """
        return self._query(duckdb_sql.RULE_STEPS, question, query_results.RecordedRuleStep)[::-1]

    def steps_of(self, call: query_results.CallRow) -> list[query_results.RecordedRuleStep]:
        """Return the steps that rules took for a call, or the newest one that its refusal is about.

        Such a step was recorded with an earlier call, for which it was taken first.
        """
        values: dict[str, object] = {
            "crew": call.crew,
            "path": [*call.ancestry, call.branch],
            "request": call.request,
            "is_refused": Reason.LOOP_DETECTED.value in {call.reason, call.would},
            "before": call.time.astimezone(UTC).replace(tzinfo=None),
            "limit": limits.rules_max,
        }
        found = self._read(duckdb_sql.STEPS_OF_CALL, values, None, query_results.RecordedRuleStep)
        return [each for each in found if each.request == call.request] or found[:1]

    def revocations(self, question: AuditFilter) -> list[query_results.RevocationEvent]:
        """Return the newest `question.limit` revocations, the oldest of them first.

        Of the filters, only crew, branch and time apply.
        """
        return self._query(duckdb_sql.REVOCATIONS, question, query_results.RevocationEvent)[::-1]

    def runs(self, question: RunsFilter) -> list[RecordedRun]:
        """Return the newest runs that match, the newest first."""
        return self._read(duckdb_sql.RUNS, question.parameters, question.since, RecordedRun)

    def health(self, since: datetime | None = None) -> query_results.AuditGaps:
        """Return the gaps of the audit; unreadable lines count whatever `since` is."""
        [row] = self._query(duckdb_sql.HEALTH, AuditFilter(since=since), dict[str, int])
        files = audit_folder.files(self._folder)
        return query_results.AuditGaps(
            files=len(files), bytes=audit_folder.size(self._folder), **row
        )

    def _query(self, statement: str, question: AuditFilter, kind: type[T]) -> list[T]:
        values = duckdb_sql.parameters(question, statement)
        return self._read(statement, values, question.since, kind)

    def _read(
        self, statement: str, values: dict[str, object], since: datetime | None, kind: type[T]
    ) -> list[T]:
        for attempt in range(1, _ATTEMPTS_MAX + 1):
            try:
                answer = self._engine.execute(statement, {**values, "files": self._files(since)})
                columns = [column[0] for column in answer.description]
                found = [
                    dict(zip(columns, map(_aware, row), strict=True)) for row in answer.fetchall()
                ]
                return msgspec.convert(found, list[kind])  # type: ignore[valid-type]
            except duckdb.IOException as error:
                if attempt == _ATTEMPTS_MAX:
                    raise AuditReadError(f"audit folder {self._folder}: {error}") from error
            except duckdb.Error as error:
                raise AuditReadError(f"audit folder {self._folder}: {error}") from error
        raise AssertionError("the last attempt answers or raises")

    def _files(self, since: datetime | None) -> list[str]:
        """Return the files that may have records since `since`, as patterns of `read_json`."""
        paths = audit_folder.files(self._folder)
        if since is not None:
            paths = [path for path in paths if _changed(path) >= since.timestamp()]
        return [duckdb_sql.literal_path(str(path)) for path in paths] or [os.devnull]


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _aware(value: object) -> object:
    """Add UTC to a timestamp of the engine, which has no time zone."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
