"""Keeps on disk which alerts each receiver still lacks, and what the watches remember.

Each change is one transaction, on the disk when the method returns. Alerts with an id that is
already here are left out. For one receiver, an alert waits until all earlier alerts about the same
subject are done; of those that are left, the one with the fewest attempts goes first, then the most
urgent one, then the oldest. At most `limits.alerts_waiting_max` wait for a receiver: then the least
urgent ones go, the oldest of them first, and are counted.

The commands `crewgate alerts` open the same file while the process runs. All methods block.
"""

import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from crewgate import limits
from crewgate.alerts.alert import Alert, Findings
from crewgate.audit.file_progress import AuditPosition
from crewgate.errors import AlertOutboxError
from crewgate.runtime.base_sqlite_store import BaseSQLiteStore, remedy_of
from crewgate.runtime.durable_files import make_folder

_VERSION = 1
_SCHEMA = """
CREATE TABLE alert (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    type TEXT NOT NULL,
    subject TEXT NOT NULL,
    severity INTEGER NOT NULL,
    alert BLOB NOT NULL
) STRICT;
CREATE TABLE delivery (
    receiver TEXT NOT NULL,
    seq INTEGER NOT NULL REFERENCES alert (seq),
    subject TEXT NOT NULL,
    severity INTEGER NOT NULL,
    state TEXT NOT NULL,
    since REAL NOT NULL,
    due REAL NOT NULL,
    attempts INTEGER NOT NULL,
    refusals INTEGER NOT NULL,
    why TEXT NOT NULL,
    assigned_to TEXT NOT NULL,
    PRIMARY KEY (receiver, seq)
) STRICT;
CREATE INDEX delivery_by_subject ON delivery (receiver, state, subject, seq);
CREATE INDEX delivery_by_alert ON delivery (seq);
CREATE TABLE receiver (
    name TEXT PRIMARY KEY,
    dropped INTEGER NOT NULL DEFAULT 0,
    dropped_at REAL NOT NULL DEFAULT 0,
    tried INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE note (
    watch TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (watch, name)
) STRICT
"""
WAITING: Final = "waiting"
DELIVERED: Final = "delivered"
REFUSED: Final = "refused"
EXPIRED: Final = "expired"
ELSEWHERE: Final = "elsewhere"  # another machine sends it
_NOT_ASSIGNED: Mapping[tuple[str, str], str] = {}
_AUDIT = "audit"
_decode = msgspec.json.Decoder(Alert).decode
_NEXT = """
SELECT delivery.seq, alert.alert, delivery.attempts, delivery.refusals, delivery.since,
       delivery.assigned_to
FROM delivery JOIN alert USING (seq)
WHERE delivery.receiver = :receiver AND delivery.state = 'waiting' AND delivery.due <= :now
  AND NOT EXISTS (
    SELECT 1 FROM delivery AS earlier
    WHERE earlier.receiver = :receiver AND earlier.state = 'waiting'
      AND earlier.subject = delivery.subject AND earlier.seq < delivery.seq
      AND earlier.due <= :now
  )
ORDER BY delivery.attempts, delivery.severity DESC, delivery.seq LIMIT 1
"""
_LIST = """
SELECT delivery.receiver, delivery.state, delivery.since, delivery.attempts, delivery.why,
       alert.alert
FROM delivery JOIN alert USING (seq)
WHERE (:receiver = '' OR delivery.receiver = :receiver) AND (:state = '' OR state = :state)
ORDER BY delivery.seq DESC LIMIT :count
"""


class WaitingAlert(msgspec.Struct, frozen=True):
    """An alert for one receiver. `since` is when it was noted, in seconds since 1970.

    `assigned_to` is the other machine that sends it first; empty if there is none.
    """

    seq: int
    alert: Alert
    attempts: int
    refusals: int
    since: float
    assigned_to: str = ""


class ListedAlert(msgspec.Struct, frozen=True):
    """An alert as the list shows it; `since` is when it got this state, or was noted."""

    receiver: str
    state: str
    since: float
    attempts: int
    why: str
    alert: Alert


class ReceiverCounts(msgspec.Struct, frozen=True):
    """How many alerts wait, were refused and expired; `dropped` found no room, last at a time."""

    waiting: int = 0
    refused: int = 0
    expired: int = 0
    dropped: int = 0
    dropped_at: float = 0.0


class AlertOutbox(BaseSQLiteStore):
    """The file of one machine. Threads may share it. Use it in a `with`."""

    def __init__(self, state: Path) -> None:
        """Open the file in the state folder, or create it. Raises AlertOutboxError."""
        self._lock = threading.RLock()
        self.path = self.file(state)
        try:
            make_folder(self.path.parent, 0o700, parents=True)
        except OSError as error:
            raise self._failed(error) from error
        super().__init__(self.path)

    @staticmethod
    def file(state: Path) -> Path:
        """Return the file in a state folder."""
        return state / "alerts" / "outbox.sqlite"

    def notes(self, watch: str) -> dict[str, str]:
        """Return what a watch remembers. Raises AlertOutboxError."""
        with self._lock:
            return dict(self._rows("SELECT name, value FROM note WHERE watch = ?", (watch,)))

    def position(self) -> AuditPosition | None:
        """Return how far the audit was read; None before the first time."""
        text = self.notes(_AUDIT).get(_AUDIT)
        return None if text is None else msgspec.json.decode(text, type=AuditPosition)

    def add(
        self,
        watch: str,
        found: Findings,
        wanted: Mapping[str, Sequence[Alert]],
        now: float,
        position: AuditPosition | None = None,
        assigned: Mapping[tuple[str, str], str] = _NOT_ASSIGNED,
    ) -> int:
        """Store findings of a watch, and return how many alerts are new.

        `wanted` has the alerts for each receiver; one for no receiver is not stored. `assigned`
        has the other machine that sends an alert first, by receiver and id: here the alert is due
        later. Raises AlertOutboxError.
        """
        receivers = _by_alert(wanted)
        with self._lock, self._transaction() as database:
            new = 0
            for alert in found.alerts:
                names = [*receivers.get(alert.id, ())]
                machines = {name: assigned.get((name, alert.id), "") for name in names}
                new += bool(names) and _insert(database, alert, machines, now)
            for name, value in found.notes.items():
                _note(database, watch, name, value)
            if position is not None:
                _note(database, _AUDIT, _AUDIT, msgspec.json.encode(position).decode())
            if new:
                for name in wanted:
                    _drop(database, name, now)
            return new

    def next(self, receiver: str, now: float) -> WaitingAlert | None:
        """Return the next alert for a receiver, if one is due. Raises AlertOutboxError."""
        with self._lock:
            rows = self._rows(_NEXT, {"receiver": receiver, "now": now})
        for seq, text, *rest in rows:
            return WaitingAlert(seq, _decode(text), *rest)
        return None

    def delivered(self, receiver: str, seq: int, now: float) -> None:
        """Note that a receiver has an alert. Raises AlertOutboxError."""
        self._end(receiver, seq, DELIVERED, now, "")

    def give_up(self, receiver: str, seq: int, state: str, now: float, why: str) -> None:
        """Note that an alert is `REFUSED`, `EXPIRED` or `ELSEWHERE`; an empty `why` keeps the last.

        Raises AlertOutboxError.
        """
        self._end(receiver, seq, state, now, why)

    def failed(self, receiver: str, seq: int, why: str, *, is_refusal: bool) -> None:
        """Note an attempt that has failed. Raises AlertOutboxError."""
        statement = (
            "UPDATE delivery SET attempts = min(attempts + 1, ?), refusals = refusals + ?, why = ? "
            "WHERE receiver = ? AND seq = ? AND state = 'waiting'"
        )
        attempts_max = limits.alert_backlog_attempts_max
        with self._lock, self._transaction() as database:
            database.execute(statement, (attempts_max, is_refusal, why, receiver, seq))

    def excuse(self, receiver: str, seqs: Iterable[int]) -> None:
        """Forget the attempts of alerts that failed with all others. Raises AlertOutboxError."""
        statement = "UPDATE delivery SET attempts = 0 WHERE receiver = ? AND seq = ? AND state = ?"
        with self._lock, self._transaction() as database:
            database.executemany(statement, [(receiver, seq, WAITING) for seq in seqs])

    def has_taken_since(self, receiver: str, since: float) -> bool:
        """Return whether a receiver has taken any alert after `since`. Raises AlertOutboxError."""
        statement = (
            "SELECT 1 FROM delivery WHERE receiver = ? AND state = 'delivered' AND since > ? "
            "LIMIT 1"
        )
        with self._lock:
            return bool(self._rows(statement, (receiver, since)))

    def retry(self, receiver: str, now: float) -> int:
        """Have the sender try again at once; return how many alerts wait then.

        It also takes up those that were refused or have expired. Raises AlertOutboxError.
        """
        with self._lock, self._transaction() as database:
            database.execute(
                "UPDATE delivery SET state = 'waiting', since = ?, due = 0, attempts = 0, "
                "refusals = 0 WHERE receiver = ? AND state IN ('waiting', 'refused', 'expired')",
                (now, receiver),
            )
            database.execute(
                "INSERT INTO receiver (name, tried) VALUES (?, 1) "
                "ON CONFLICT (name) DO UPDATE SET tried = tried + 1",
                (receiver,),
            )
            ((count,),) = database.execute(
                "SELECT count(*) FROM delivery WHERE receiver = ? AND state = 'waiting'",
                (receiver,),
            )
            return int(count)

    def tried(self, receiver: str) -> int:
        """Return how often a person has asked to `retry`. Raises AlertOutboxError."""
        with self._lock:
            rows = self._rows("SELECT tried FROM receiver WHERE name = ?", (receiver,))
        return rows[0][0] if rows else 0

    def counts(self, receiver: str) -> ReceiverCounts:
        """Return what waits and what was given up. Raises AlertOutboxError."""
        with self._lock:
            states = dict(
                self._rows(
                    "SELECT state, count(*) FROM delivery WHERE receiver = ? GROUP BY state",
                    (receiver,),
                )
            )
            dropped = self._rows(
                "SELECT dropped, dropped_at FROM receiver WHERE name = ?", (receiver,)
            )
        found = (states.get(state, 0) for state in (WAITING, REFUSED, EXPIRED))
        return ReceiverCounts(*found, *(dropped[0] if dropped else ()))

    def rows(self, receiver: str = "", state: str = "", count: int = -1) -> list[ListedAlert]:
        """Return alerts of one receiver or of all, the newest first. Raises AlertOutboxError."""
        values = {"receiver": receiver, "state": state, "count": count}
        with self._lock:
            rows = self._rows(_LIST, values)
        return [
            ListedAlert(name, status, since, attempts, why, _decode(text))
            for name, status, since, attempts, why, text in rows
        ]

    def tidy(self, receivers: Sequence[str], now: float) -> int:
        """Remove old alerts that are done, and those of receivers that are not configured.

        Return how many alerts still waited for such receivers. Raises AlertOutboxError.
        """
        known = ", ".join("?" * len(receivers)) or "''"
        with self._lock, self._transaction() as database:
            waited = database.execute(
                "SELECT count(*) FROM delivery WHERE state = 'waiting' "  # noqa: S608 - only marks
                f"AND receiver NOT IN ({known})",
                receivers,
            ).fetchone()[0]
            statement = f"DELETE FROM delivery WHERE receiver NOT IN ({known})"  # noqa: S608
            database.execute(statement, receivers)
            for name in receivers:
                database.execute(
                    "DELETE FROM delivery WHERE receiver = :name AND state <> 'waiting' AND "
                    "(since < :old OR seq NOT IN (SELECT seq FROM delivery WHERE receiver = :name "
                    "AND state <> 'waiting' ORDER BY since DESC LIMIT :most))",
                    {
                        "name": name,
                        "old": now - limits.alerts_done_seconds,
                        "most": limits.alerts_done_max,
                    },
                )
            database.execute("DELETE FROM alert WHERE seq NOT IN (SELECT seq FROM delivery)")
            return int(waited)

    def _end(self, receiver: str, seq: int, state: str, now: float, why: str) -> None:
        statement = (
            "UPDATE delivery SET state = ?, since = ?, why = coalesce(nullif(?, ''), why), "
            "attempts = attempts + 1 "
            "WHERE receiver = ? AND seq = ? AND state = 'waiting'"
        )
        with self._lock, self._transaction() as database:
            database.execute(statement, (state, now, why, receiver, seq))

    def _prepare(self) -> None:
        version = self._version(_SCHEMA, _VERSION)
        if version != _VERSION:
            raise AlertOutboxError(
                f"{self.path}: the alerts have version {version}, but this Crewgate reads version "
                f"{_VERSION}; use the Crewgate that wrote them"
            )

    def _failed(self, error: Exception) -> AlertOutboxError:
        remedy = remedy_of(error, "gateway's")
        return AlertOutboxError(f"{self.path}: the alerts cannot be stored: {remedy}")


def _by_alert(wanted: Mapping[str, Iterable[Alert]]) -> dict[str, dict[str, None]]:
    """Return the receivers of each alert by its id, each once and in order."""
    found: dict[str, dict[str, None]] = {}
    for receiver, alerts in wanted.items():
        for alert in alerts:
            found.setdefault(alert.id, {})[receiver] = None
    return found


def _insert(
    database: sqlite3.Connection, alert: Alert, receivers: Mapping[str, str], now: float
) -> bool:
    """Store an alert for receivers, each with the other machine that sends it first.

    Return False if the id of the alert is here already.
    """
    rank, later = alert.severity.rank, limits.alert_takeover_seconds
    done = database.execute(
        "INSERT INTO alert (id, type, subject, severity, alert) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT (id) DO NOTHING RETURNING seq",
        (alert.id, alert.type, alert.subject, rank, msgspec.json.encode(alert)),
    ).fetchall()
    for (seq,) in done:
        database.executemany(
            "INSERT INTO delivery VALUES (?, ?, ?, ?, 'waiting', ?, ?, 0, 0, '', ?)",
            [
                (name, seq, alert.subject, rank, now, now + later * bool(machine), machine)
                for name, machine in receivers.items()
            ],
        )
    return bool(done)


def _note(database: sqlite3.Connection, watch: str, name: str, value: str | None) -> None:
    key: tuple[Any, ...] = (watch, name)
    if value is None:
        database.execute("DELETE FROM note WHERE watch = ? AND name = ?", key)
    else:
        database.execute("INSERT OR REPLACE INTO note VALUES (?, ?, ?)", (*key, value))


def _drop(database: sqlite3.Connection, receiver: str, now: float) -> None:
    """Drop what waits for a receiver beyond the bound, and count it."""
    ((count,),) = database.execute(
        "SELECT count(*) FROM delivery WHERE receiver = ? AND state = 'waiting'", (receiver,)
    )
    surplus = count - limits.alerts_waiting_max
    if surplus <= 0:
        return
    dropped = database.execute(
        "DELETE FROM delivery WHERE receiver = ? AND seq IN (SELECT seq FROM delivery "
        "WHERE receiver = ? AND state = 'waiting' ORDER BY severity, seq LIMIT ?) RETURNING seq",
        (receiver, receiver, surplus),
    ).fetchall()
    database.executemany(
        "DELETE FROM alert WHERE seq = ?1 AND NOT EXISTS (SELECT 1 FROM delivery WHERE seq = ?1)",
        dropped,
    )
    database.execute(
        "INSERT INTO receiver (name, dropped, dropped_at) VALUES (?, ?, ?) ON CONFLICT (name) "
        "DO UPDATE SET dropped = dropped + excluded.dropped, dropped_at = excluded.dropped_at",
        (receiver, surplus, now),
    )
