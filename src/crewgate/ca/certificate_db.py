"""Stores each certificate that the CA issues, and its revocation, in SQLite (the register).

Writes are durable when they return (WAL, synchronous=FULL). Several processes use the database at
once: the control process and commands. It has no key and signs nothing. All methods block; times
are whole seconds since the epoch.

A revocation is written here first, as an intent. `announced` then says that the agent's table has
it and that open connections are closed; the CRL file itself shows whether it has it
(`dead_serials`). If the disk takes no revocation, it holds in this process
(`unrecorded_revocations`) and is written later.
"""

import re
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.ca.unrecorded_revocations import unwritten_of
from crewgate.core.x509.certificate import serial_text
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.errors import CAError
from crewgate.runtime.base_sqlite_store import BaseSQLiteStore, remedy_of

_VERSION = 1
_SCHEMA = """
CREATE TABLE certificate (
    serial TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    crew TEXT NOT NULL,
    name TEXT NOT NULL,
    instance BLOB NOT NULL,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    issued INTEGER NOT NULL,
    revoked INTEGER,
    reason TEXT,
    announced INTEGER NOT NULL DEFAULT 0,
    pem TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX holder ON certificate (crew, name, not_after);
CREATE INDEX pending ON certificate (serial) WHERE revoked IS NOT NULL AND NOT announced;
CREATE INDEX dead ON certificate (not_after) WHERE revoked IS NOT NULL;
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counter VALUES ('crl', 0);
"""
# A serial has at most 20 bytes (RFC 5280, section 4.1.2.2): 64 digits are more than enough.
_SERIAL = re.compile(r"[0-9A-Fa-f]{1,64}", re.ASCII)


class CertificateRecord(msgspec.Struct, frozen=True):
    """A row of the register: one certificate.

    `serial` is upper-case hexadecimal. `revoked` is the time of its revocation, or None, and
    `reason` is RFC 5280's name of the reason. `announced`: the agent has applied the revocation.
    """

    serial: str
    role: Role
    crew: str
    name: str
    instance: bytes
    not_before: int
    not_after: int
    issued: int
    pem: str
    revoked: int | None = None
    reason: str = ""
    announced: bool = False

    @property
    def named(self) -> Identity:
        """The identity of the holder, without the key and the rights of a gateway."""
        return Identity(self.role, self.name, self.instance, self.crew)

    @property
    def label(self) -> str:
        """The holder, as `Identity.label` writes it."""
        return self.named.label

    def status(self, now: float) -> str:
        """Return "valid", "expired" or "revoked"."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if now > self.not_after else "valid"


_COLUMNS = CertificateRecord.__struct_fields__
_COLUMN_LIST = ", ".join(_COLUMNS)


class CertificateDB(BaseSQLiteStore):
    """A connection to the register at `path`. Use it in a `with`, and in one thread at a time.

    Each method may raise CAError, for a failing disk or a database of another version.
    """

    def __init__(self, path: Path, *, is_new: bool = False) -> None:
        """Open the database, or create it if `is_new` is set (a new one has no revocations)."""
        if not is_new:
            try:
                path.stat()  # `exists` hides, since Python 3.14, that the folder is another user's
            except FileNotFoundError:
                text = f"{path}: the CA's register is missing; restore it from a backup"
                raise CAError(text) from None
        self._unwritten = unwritten_of(path)
        super().__init__(path)

    @property
    def unwritten_reason(self) -> str:
        """Why some revocations in force are not in the database yet; "" if all are."""
        return self._unwritten.unwritten_reason

    def flush(self) -> None:
        """Write what could not be written earlier. Raises CAError if it still cannot."""
        waiting, announced = self._unwritten.items(), [*self._unwritten.propagated]
        if not waiting and not announced:
            return
        with self._transaction() as database:
            database.executemany(
                "UPDATE certificate SET revoked = ?, reason = ?, announced = ? "
                "WHERE serial = ? AND revoked IS NULL",
                [(each.when, each.reason, each.announced, serial) for serial, each in waiting],
            )
            _note_announced(database, announced)
        self._unwritten.propagated.difference_update(announced)
        if waiting:
            self._unwritten.written(serial for serial, _ in waiting)

    def add(self, entry: CertificateRecord, *, after: str = "") -> None:
        """Add a certificate; call this before anybody gets the certificate.

        `after` is the serial of the certificate that it renews. Raises CAError if that one
        is revoked: a revocation of all that a holder has must not miss a renewal in progress. The
        certificates of branches are many and short, so an old one that has ended makes room.
        """
        values = msgspec.structs.asdict(entry)
        marks = ", ".join(f":{name}" for name in _COLUMNS)
        with self._transaction() as database:
            serial = _canonical(after)
            good = "SELECT 1 FROM certificate WHERE serial = ? AND revoked IS NULL"
            is_good = database.execute(good, (serial,)).fetchone() and serial not in self._unwritten
            if after and not is_good:
                raise CAError(f"certificate {after} is revoked and cannot be renewed")
            values |= {"role": entry.role.value, "reason": entry.reason or None}
            database.execute(
                f"INSERT INTO certificate ({_COLUMN_LIST}) VALUES ({marks})",  # noqa: S608 - constants
                values,
            )
            if entry.role is Role.AGENT:
                database.execute(
                    "DELETE FROM certificate WHERE crew = ? AND name = ? AND role = 'agent' "
                    "AND not_after < ?",
                    (entry.crew, entry.name, entry.issued - limits.branch_certificate_kept_seconds),
                )

    def find(self, serial: str) -> CertificateRecord | None:
        """Return the certificate of a serial: hexadecimal of any case, with or without colons."""
        found = self._select("serial = ?", (_canonical(serial),))
        return found[0] if found else None

    def all(self) -> list[CertificateRecord]:
        """Return all certificates, oldest first."""
        return self._select("1 ORDER BY issued, serial", ())

    def of(self, crew: str, name: str, now: int) -> list[CertificateRecord]:
        """Return a holder's certificates that are neither revoked nor expired."""
        where = "crew = ? AND name = ? AND revoked IS NULL AND not_after >= ?"
        return [each for each in self._select(where, (crew, name, now)) if each.revoked is None]

    def issued_since(self, crew: str, name: str, when: int) -> int:
        """Return how many certificates a holder got since the time `when`, without its branches."""
        # A certificate ends after its issue, and the index has the ends.
        ((count,),) = self._rows(
            "SELECT count(*) FROM certificate WHERE crew = ? AND name = ? AND issued >= ? "
            "AND not_after >= ? AND role != 'agent'",
            (crew, name, when, when),
        )
        return int(count)

    def revoke(
        self, serials: Iterable[str], reason: str, now: int, *, whole_instances: bool = False
    ) -> list[CertificateRecord]:
        """Revoke certificates in one transaction; return those that this revoked, oldest first.

        `whole_instances` also revokes all other certificates of the same holders' instances, since
        an attacker with a key may have renewed. An instance alone is not enough: a crew that mints
        a branch chooses its id, and an agent's instance is that id. If the disk takes no
        revocation, they are in force in this process, and `unwritten_reason` says why.
        """
        holder = "role, crew, name, instance"
        same = f"({holder}) = (SELECT {holder} FROM certificate WHERE serial = ?)"  # noqa: S608
        where = same if whole_instances else "serial = ?"
        conditions = [(where, (serial,)) for serial in map(_canonical, serials)]
        return self._revoke(conditions, reason, now)

    def revoke_holder(self, crew: str, name: str, reason: str, now: int) -> list[CertificateRecord]:
        """Revoke all certificates of a holder in one transaction; return those that this revoked.

        A certificate that is issued at the same time is either revoked too, or refused by `add`.
        If the disk takes no revocation, this does what `revoke` does; then `add` fails as well.
        """
        where = "crew = ? AND name = ? AND not_after >= ?"
        values = (crew, name, now - limits.clock_distrust_seconds)
        return self._revoke([(where, values)], reason, now)

    def pending(self) -> list[CertificateRecord]:
        """Return the revoked certificates that this process does not know to be announced."""
        entries = self._select("revoked IS NOT NULL AND NOT announced", ()) + self._held()
        announced = self._unwritten.propagated
        return [each for each in entries if not each.announced and each.serial not in announced]

    def announced(self, serials: Iterable[str]) -> None:
        """Note that the agent has applied these revocations on this machine.

        If the disk takes no note, only the next process treats them as pending again.
        """
        noted = [_canonical(serial) for serial in serials]
        self._unwritten.announced(noted)
        try:
            with self._transaction() as database:
                _note_announced(database, noted)
        except CAError:
            self._unwritten.propagated.update(noted)

    def dead(self, now: int) -> list[tuple[str, int, str]]:
        """Return serial, time and reason of each revoked certificate that has not expired."""
        rows = self._rows(
            "SELECT serial, revoked, reason FROM certificate "
            "WHERE revoked IS NOT NULL AND not_after >= ? ORDER BY serial",
            (now - limits.clock_distrust_seconds,),
        )
        return rows + [(serial, each.when, each.reason) for serial, each in self._unwritten.items()]

    def dead_serials(self, now: int) -> set[str]:
        """Return the serials of `dead`. An index covers the query, so it may run every second."""
        rows = self._rows(
            "SELECT serial FROM certificate WHERE revoked IS NOT NULL AND not_after >= ?",
            (now - limits.clock_distrust_seconds,),
        )
        held = {serial for serial, _ in self._unwritten.items()}
        return held.union(serial for (serial,) in rows)

    def dead_entries(self, now: int) -> list[CertificateRecord]:
        """Return the certificates of `dead`."""
        where = "revoked IS NOT NULL AND not_after >= ?"
        return self._select(where, (now - limits.clock_distrust_seconds,)) + self._held()

    def next_crl_number(self, now: int) -> int:
        """Return a number above that of each earlier CRL (RFC 5280, section 5.2.3).

        It is at least `now`, since other machines remember the highest number that they saw, and a
        register that was restored from a backup, or cannot be written, lacks the last numbers.
        """
        min_number = max(now, self._unwritten.crl_number + 1)
        try:
            with self._transaction() as database:
                ((number,),) = database.execute(
                    "UPDATE counter SET value = max(value + 1, ?) WHERE name = 'crl' "
                    "RETURNING value",
                    (min_number,),
                ).fetchall()
        except CAError:
            ((last,),) = self._rows("SELECT value FROM counter WHERE name = 'crl'")
            number = self._unwritten.crl_number = max(last + 1, min_number)
        return int(number)

    def _revoke(
        self, conditions: Sequence[tuple[str, tuple[object, ...]]], reason: str, now: int
    ) -> list[CertificateRecord]:
        """Revoke all certificates that match a condition, in one transaction."""
        done: list[tuple[str]] = []
        try:
            with self._transaction() as database:
                for where, values in conditions:
                    done += database.execute(
                        "UPDATE certificate SET revoked = ?, reason = ?, announced = 0 "  # noqa: S608
                        f"WHERE {where} AND revoked IS NULL RETURNING serial",
                        (now, reason, *values),
                    ).fetchall()
        except CAError as error:
            done = [
                (each.serial,)
                for where, values in conditions
                for each in self._select(where, values)
                if each.revoked is None
            ]
            self._unwritten.take((serial for (serial,) in done), now, reason, str(error))
        return self._found(done)

    def _held(self) -> list[CertificateRecord]:
        return self._found((serial,) for serial, _ in self._unwritten.items())

    def _prepare(self) -> None:
        version = self._version(_SCHEMA, _VERSION)
        if version != _VERSION:
            raise CAError(
                f"{self.path}: the CA's register has version {version}, but this Crewgate reads "
                f"version {_VERSION}; use the Crewgate that wrote it"
            )

    def _select(self, where: str, values: Sequence[object]) -> list[CertificateRecord]:
        # The condition is a constant of this file, the values are bound.
        statement = f"SELECT {_COLUMN_LIST} FROM certificate WHERE {where}"  # noqa: S608
        return [self._as_held(_entry(row)) for row in self._rows(statement, values)]

    def _as_held(self, entry: CertificateRecord) -> CertificateRecord:
        """Return the record with its unwritten revocation, which the row lacks."""
        held = self._unwritten.get(entry.serial)
        if held is None or entry.revoked is not None:
            return entry
        return msgspec.structs.replace(
            entry, revoked=held.when, reason=held.reason, announced=held.announced
        )

    def _found(self, serials: Iterable[tuple[str]]) -> list[CertificateRecord]:
        entries = [entry for (serial,) in serials if (entry := self.find(serial)) is not None]
        return sorted(entries, key=lambda entry: (entry.issued, entry.serial))

    def _failed(self, error: Exception) -> CAError:
        # A trigger of `lifecycle/orchestrator_runs.py` refuses certificates for a run that ends.
        if isinstance(error, sqlite3.IntegrityError):
            return CAError(f"no certificate is issued to this holder: {error}")
        return CAError(
            f"{self.path}: the CA's register cannot be used: {remedy_of(error, 'control')}"
        )


def _canonical(serial: str) -> str:
    """Return a serial as the register stores it, or "" for a text that is not a serial."""
    digits = serial.replace(":", "")
    return serial_text(int(digits, 16)) if _SERIAL.fullmatch(digits) else ""


def _note_announced(database: sqlite3.Connection, serials: Sequence[str]) -> None:
    statement = "UPDATE certificate SET announced = 1 WHERE serial = ?"
    database.executemany(statement, [(serial,) for serial in serials])


def _entry(row: tuple[object, ...]) -> CertificateRecord:
    values = dict(zip(_COLUMNS, row, strict=True))
    values["reason"] = values["reason"] or ""
    values["announced"] = bool(values["announced"])
    return msgspec.convert(values, CertificateRecord)
