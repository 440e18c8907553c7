"""Answers a question about the newest alerts of this machine: a process of its own.

    python -m crewgate.alerts.recent_report NAME FILE STATE AUDIT

The arguments are the name of the machine, its configuration file, its state folder, and the folder
of its audit. It reads an `AlertsQuestion` from standard input, and writes the pages of the answer
to standard output, each with its length before it. The agent runs it at a low priority. The alerts
have the ids that receivers get. Exit status 1: standard error says what cannot be read.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from heapq import nlargest
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.alerts.alert import Alert
from crewgate.alerts.audit_alerts import alerts_of, may_be_alert
from crewgate.alerts.local_machine import LocalMachine
from crewgate.alerts.outbox import AlertOutbox
from crewgate.audit import folder as audit_folder
from crewgate.audit.audit_entry import AuditEntry
from crewgate.audit.audit_tail import AuditTail, Batch
from crewgate.audit.file_progress import AuditPosition, FilePosition
from crewgate.errors import CrewgateError
from crewgate.ipc.answer_parts import AlertsPart
from crewgate.ipc.frames import frame
from crewgate.ipc.machine_messages import AlertsQuestion, encode

_LEAST_URGENT = 19  # of nice(1)


def main() -> int:
    """Answer one question; return the exit status."""
    os.nice(_LEAST_URGENT)
    name, file, state, audit = sys.argv[1:]
    local = LocalMachine(name, Path(file), Path(state))
    try:
        question = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=AlertsQuestion)
        found = newest(local, Path(audit), question.limit, time.time())
    except (CrewgateError, msgspec.DecodeError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for page in _pages(found):
        sys.stdout.buffer.write(frame(page))
    sys.stdout.buffer.flush()
    return 0


def newest(local: LocalMachine, audit: Path, limit: int, wall: float) -> list[Alert]:
    """Return the newest alerts, the newest first; `wall` is now, in seconds since 1970.

    An alert that the outbox has is the one that was sent. Raises AlertOutboxError.
    """
    found = {alert.id: alert for alert in alerts_of(_records(audit, wall), local)}
    for alert in _sent(local.state, limit):
        found[alert.id] = alert
    return sorted(found.values(), key=lambda each: each.timestamp, reverse=True)[:limit]


def _sent(state: Path, limit: int) -> Iterator[Alert]:
    # Only the alerts process makes the file.
    if not AlertOutbox.file(state).exists():
        return
    with AlertOutbox(state) as outbox:
        for row in outbox.rows(count=limit * limits.alert_receivers_max):
            yield row.alert


def _records(folder: Path, wall: float) -> list[AuditEntry]:
    """Return the newest records of the last day that may become alerts, as far as they are read."""
    since = wall - limits.member_alert_seconds
    tail = AuditTail(folder, _position(folder, since), is_wanted=may_be_alert)
    found: list[AuditEntry] = []
    exhausted: set[object] = set()  # a branch without credits can have thousands of calls
    while True:
        batch = Batch()
        tail.read(batch)
        if not batch.ends:
            return found
        for entry in batch.entries:
            level = entry.record.get("level") if entry.kind == "call" else None
            if entry.time_ns >= since * 1e9 and not (level and str(level) in exhausted):
                found.append(entry)
                exhausted.add(str(level))
        tail.commit(batch)
        found = nlargest(limits.member_alert_records_max, found, key=lambda each: each.time_ns)


def _position(folder: Path, since: float) -> AuditPosition:
    """Return where to begin in each file: at the end of those that have nothing new enough.

    A file is read from the middle of a line on, which `may_be_alert` skips.
    """
    position, left = AuditPosition(), limits.member_alert_folder_bytes_max
    for path in reversed(audit_folder.files(folder)):
        try:
            status = path.stat()
        except OSError:
            continue
        wanted = min(status.st_size, limits.member_alert_file_bytes_max, left)
        if status.st_mtime < since:
            wanted = 0
        left -= wanted
        position.files[path.name] = FilePosition(status.st_size - wanted, status.st_size)
    return position


def _pages(found: Iterable[Alert]) -> Iterator[bytes]:
    documents = [alert.document() for alert in found]
    kept = [each for each in documents if len(each) <= limits.member_alert_bytes_max]
    size = limits.member_alerts_page_max
    for first in range(0, max(1, len(kept)), size):
        yield encode(AlertsPart(kept[first : first + size]))


if __name__ == "__main__":
    sys.exit(main())
