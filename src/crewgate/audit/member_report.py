"""Answers another machine's question about the audit of this one: a process of its own.

    python -m crewgate.audit.member_report FOLDER STATE MACHINE

It reads an `AuditFilesQuestion` from standard input, and writes the pages of the answer to standard
output, each with its length before it. The agent runs it, so that a question cannot delay the agent
or fill its memory: at a low priority, on one core, with a bound on rows and bytes. If asked, it
signs the lines of a run with the key in STATE, under the name MACHINE. Exit status 1: the audit
cannot be read, and standard error says why.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.audit.checkpoints.signing_key import CheckpointKey
from crewgate.audit.filters import AuditFilter, GroupBy
from crewgate.audit.queries import AuditQueries
from crewgate.audit.replay.extract import extract, pages
from crewgate.audit.replay.question import ReplayFilter
from crewgate.audit.replay.recorded_runs import RunsFilter, RunsPart
from crewgate.audit.reports import AuditReport, report
from crewgate.errors import AuditReadError, ConfigurationError
from crewgate.ipc.frames import frame
from crewgate.ipc.machine_messages import (
    AuditFilesQuestion,
    RecordedRunsQuestion,
    ReplayQuestion,
    encode,
)

_LEAST_URGENT = 19  # of nice(1)
_decode = msgspec.msgpack.Decoder(AuditFilesQuestion).decode
_LISTS = ("refusals", "calls", "groups", "connections", "watch", "rules", "revocations", "grants")


def main() -> int:
    """Answer one question; return the exit status."""
    os.nice(_LEAST_URGENT)
    try:
        question = _decode(sys.stdin.buffer.read())
        folder, state, machine = sys.argv[1:]
        pages = answer(Path(folder), question, Path(state), machine)
    except (AuditReadError, ConfigurationError, ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for page in pages:
        sys.stdout.buffer.write(frame(page))
    sys.stdout.buffer.flush()
    return 0


def answer(
    folder: Path, question: AuditFilesQuestion, state: Path, machine: str = ""
) -> list[bytes]:
    """Return the pages of the answer.

    Raises:
        AuditReadError: The files cannot be read.
        ConfigurationError: The key that signs is not in the state folder.
        OSError: A file cannot be read.
        ValueError: The filters are bad.
    """
    if isinstance(question, ReplayQuestion):
        wanted = msgspec.json.decode(question.filters, type=ReplayFilter)
        key = CheckpointKey.load(state) if wanted.is_signed else None
        return [encode(part) for part in pages(extract(folder, wanted, key, machine))]
    if isinstance(question, RecordedRunsQuestion):
        runs_filter = msgspec.json.decode(question.filters, type=RunsFilter)
        with closing(_queries(folder)) as audit:
            runs = audit.runs(runs_filter)
        size = limits.replay_runs_page_max
        return [encode(RunsPart(runs[at : at + size])) for at in range(0, len(runs) or 1, size)]
    filters = msgspec.json.decode(question.filters, type=AuditFilter)
    limit = min(filters.limit, limits.member_audit_rows_max)
    filters = msgspec.structs.replace(filters, limit=limit)
    with closing(_queries(folder)) as audit:
        by = GroupBy(question.by) if question.by else None
        found = report(audit, question.mode, filters, by)
    return list(_pages(found))


def _queries(folder: Path) -> AuditQueries:
    # Without a folder for it, the engine writes nothing to a disk.
    bounds = {"memory_limit": f"{limits.member_audit_mib_max}MiB", "temp_directory": ""}
    return AuditQueries(folder, {"threads": "1", **bounds})


def _pages(found: AuditReport) -> Iterator[bytes]:
    """Yield the report in pages; the first has all that is no list."""
    lists = {name: getattr(found, name)[: limits.member_audit_rows_max] for name in _LISTS}
    empty: dict[str, Sequence[object]] = {name: [] for name in _LISTS}
    yield encode(msgspec.structs.replace(found, **empty))
    size = limits.member_audit_page_rows_max
    for name, rows in lists.items():
        for first in range(0, len(rows), size):
            part = {name: rows[first : first + size]}
            yield encode(msgspec.convert(part, AuditReport, from_attributes=True))


if __name__ == "__main__":
    sys.exit(main())
