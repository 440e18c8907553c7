"""The issuance database: every certificate that the CA signed, and what became of it. SQLite.

Durable before it answers (WAL, synchronous=FULL), and open to several processes at once: the
control process and commands. Knows no key and signs nothing. Blocks; times are whole seconds since
the epoch. A revocation is entered here first, as an intent: `announced` says that the table and
the open connections have followed. The CRL itself says whether it has (`dead_serials`). One that
the disk does not take holds in this process all the same (`unwritten`), and is written when it
does.
"""

import re
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.ca.sqlite import CAStore, remedy_of
from crewgate.ca.unrecorded_revocations import unwritten_of
from crewgate.core.x509.certificate import serial_text
from crewgate.core.x509.identity import Role
from crewgate.errors import AuthorityError

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
_COLUMNS = (
    "serial, role, crew, name, instance, not_before, not_after, issued, revoked, reason, announced,"
    " pem"
)
_SERIAL = re.compile(r"[0-9A-Fa-f]{1,64}", re.ASCII)  # RFC 5280 §4.1.2.2: at most 20 bytes


class CertificateRecord(msgspec.Struct, frozen=True):
    """One certificate. `revoked` is when, None while it is good; `reason` as RFC 5280 names it."""

    serial: str  # upper-case hexadecimal
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

    def __repr__(self) -> str:
        return f"<CertificateRecord {self.serial} {self.label} {self.status(0)}>"

    @property
    def label(self) -> str:
        """As `Identity.label`."""
        return f"{self.crew or self.role.value}/{self.name}"

    def status(self, now: float) -> str:
        """One word for people."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if now > self.not_after else "valid"


class CertificateDB(CAStore):
    """A connection to the database at `path`; use it in a `with`, in one thread at a time.

    Every method may raise AuthorityError: a disk that fails, a database of another version.
    """

    def __init__(self, path: Path, *, is_new: bool = False) -> None:
        """Open it, or make an empty one, in which nothing is revoked, where `is_new` says so."""
        if not is_new and not path.exists():
            raise AuthorityError(f"{path}: the register is not there; put it back")
        self._unwritten = unwritten_of(path)
        super().__init__(path)

    @property
    def unwritten_reason(self) -> str:
        """Why revocations are in force that are not written here yet; "" if there are none."""
        return self._unwritten.unwritten_reason

    def flush(self) -> None:
        """Write what could not be written before; AuthorityError while that cannot be."""
        waiting, told = self._unwritten.items(), [*self._unwritten.propagated]
        if not waiting and not told:
            return
        with self._database.transaction() as database:
            database.executemany(
                "UPDATE certificate SET revoked = ?, reason = ?, announced = ? "
                "WHERE serial = ? AND revoked IS NULL",
                [(each.when, each.reason, each.announced, serial) for serial, each in waiting],
            )
            _note_announced(database, told)
        self._unwritten.propagated.difference_update(told)
        if waiting:
            self._unwritten.written(serial for serial, _ in waiting)

    def add(self, entry: CertificateRecord, *, after: str = "") -> None:
        """Write down a certificate, before anybody gets it.

        AuthorityError if the one that it comes `after` (its serial) has been revoked meanwhile:
        whoever revokes all that a holder has must not miss what is being made.
        """
        values = msgspec.structs.asdict(entry)
        names = _COLUMNS.replace(" ", "").split(",")
        marks = ", ".join(f":{name}" for name in names)
        with self._database.transaction() as database:
            is_dead = _canonical(after) in self._unwritten
            if after and (is_dead or not _is_good(database, _canonical(after))):
                raise AuthorityError(f"certificate {after} is revoked, so nothing comes after it")
            values |= {"role": entry.role.value, "reason": entry.reason or None}
            database.execute(
                f"INSERT INTO certificate ({_COLUMNS}) VALUES ({marks})",  # noqa: S608 - constants
                values,
            )

    def find(self, serial: str) -> CertificateRecord | None:
        """The certificate of a serial number in any spelling of its hexadecimal digits."""
        found = self._select("serial = ?", (_canonical(serial),))
        return found[0] if found else None

    def all(self) -> list[CertificateRecord]:
        """Every certificate, oldest first."""
        return self._select("1 ORDER BY issued, serial", ())

    def of(self, crew: str, name: str, now: int) -> list[CertificateRecord]:
        """What a holder has that is neither revoked nor expired."""
        where = "crew = ? AND name = ? AND revoked IS NULL AND not_after >= ?"
        return [each for each in self._select(where, (crew, name, now)) if each.revoked is None]

    def issued_since(self, crew: str, name: str, when: int) -> int:
        """How many certificates a holder has been issued since."""
        ((count,),) = self._database.rows(
            "SELECT count(*) FROM certificate WHERE crew = ? AND name = ? AND issued >= ?",
            (crew, name, when),
        )
        return int(count)

    def revoke(
        self, serials: Iterable[str], reason: str, now: int, *, lives: bool = False
    ) -> list[CertificateRecord]:
        """Revoke certificates in one transaction; what was revoked by this, oldest first.

        With `lives`, each with all others of the same instance: who had its key may have renewed.
        Where the disk does not take it, it is in force in this process, and `trouble` says why.
        """
        same = "instance = (SELECT instance FROM certificate WHERE serial = ?)"
        which = same if lives else "serial = ?"
        found = [(which, (serial,)) for serial in map(_canonical, serials)]
        return self._revoke(found, reason, now)

    def revoke_holder(self, crew: str, name: str, reason: str, now: int) -> list[CertificateRecord]:
        """Revoke all that a holder has now, in one transaction; what was revoked by this.

        Nothing that is issued at the same time slips through: it is here before or after. As
        `revoke` where the disk does not take it: nothing is issued then.
        """
        where = "crew = ? AND name = ? AND not_after >= ?"
        values = (crew, name, now - limits.clock_distrust_seconds)
        return self._revoke([(where, values)], reason, now)

    def pending(self) -> list[CertificateRecord]:
        """Revocations that somebody has not heard of yet, as far as is known here."""
        entries = self._select("revoked IS NOT NULL AND NOT announced", ()) + self._held()
        told = self._unwritten.propagated
        return [each for each in entries if not each.announced and each.serial not in told]

    def announced(self, serials: Iterable[str]) -> None:
        """These are known everywhere on this machine.

        Where the disk does not take that, they are pending for the next process alone.
        """
        told = [_canonical(serial) for serial in serials]
        self._unwritten.announced(told)
        try:
            with self._database.transaction() as database:
                _note_announced(database, told)
        except AuthorityError:
            self._unwritten.propagated.update(told)

    def dead(self, now: int) -> list[tuple[str, int, str]]:
        """Serial, time and reason of everything revoked that would still be valid by its dates."""
        rows = self._database.rows(
            "SELECT serial, revoked, reason FROM certificate "
            "WHERE revoked IS NOT NULL AND not_after >= ? ORDER BY serial",
            (now - limits.clock_distrust_seconds,),
        )
        return rows + [(serial, each.when, each.reason) for serial, each in self._unwritten.items()]

    def dead_serials(self, now: int) -> set[str]:
        """The serials of the same; an index has them all, so this may be asked every second."""
        rows = self._database.rows(
            "SELECT serial FROM certificate WHERE revoked IS NOT NULL AND not_after >= ?",
            (now - limits.clock_distrust_seconds,),
        )
        held = {serial for serial, _ in self._unwritten.items()}
        return held.union(serial for (serial,) in rows)

    def dead_entries(self, now: int) -> list[CertificateRecord]:
        """The same as whole entries."""
        where = "revoked IS NOT NULL AND not_after >= ?"
        return self._select(where, (now - limits.clock_distrust_seconds,)) + self._held()

    def next_crl_number(self, now: int) -> int:
        """A number above that of every CRL before (RFC 5280, section 5.2.3), and at least `now`.

        Other machines keep the highest number that they have seen. A register that was restored
        from a backup has forgotten its last numbers: the time makes up for them. So it does for a
        register that cannot be written.
        """
        least = max(now, self._unwritten.crl_number + 1)
        try:
            with self._database.transaction() as database:
                ((number,),) = database.execute(
                    "UPDATE counter SET value = max(value + 1, ?) WHERE name = 'crl' "
                    "RETURNING value",
                    (least,),
                ).fetchall()
        except AuthorityError:
            ((last,),) = self._database.rows("SELECT value FROM counter WHERE name = 'crl'")
            number = self._unwritten.crl_number = max(last + 1, least)
        return int(number)

    def _revoke(
        self, which: Sequence[tuple[str, tuple[object, ...]]], reason: str, now: int
    ) -> list[CertificateRecord]:
        """Revoke what these conditions find, all of it or nothing."""
        done: list[tuple[str]] = []
        try:
            with self._database.transaction() as database:
                for where, values in which:
                    done += database.execute(
                        "UPDATE certificate SET revoked = ?, reason = ?, announced = 0 "  # noqa: S608
                        f"WHERE {where} AND revoked IS NULL RETURNING serial",
                        (now, reason, *values),
                    ).fetchall()
        except AuthorityError as error:
            done = [
                (each.serial,)
                for where, values in which
                for each in self._select(where, values)
                if each.revoked is None
            ]
            self._unwritten.take((serial for (serial,) in done), now, reason, str(error))
        return self._found(done)

    def _held(self) -> list[CertificateRecord]:
        """What is revoked and not written yet."""
        return self._found((serial,) for serial, _ in self._unwritten.items())

    def _prepare(self) -> None:
        ((version,),) = self._database.rows("PRAGMA user_version")
        if version == 0:
            with self._database.transaction() as database:
                ((version,),) = database.execute("PRAGMA user_version").fetchall()
                if version == 0:  # still, under the lock: no other process makes it
                    for statement in _SCHEMA.split(";"):
                        database.execute(statement)
                    database.execute(f"PRAGMA user_version = {_VERSION}")
                    version = _VERSION
        if version != _VERSION:
            raise AuthorityError(
                f"{self.path}: version {version} of the issuance database; this Crewgate "
                f"reads version {_VERSION}: use the one that wrote it"
            )

    def _select(self, where: str, values: Sequence[object]) -> list[CertificateRecord]:
        # The condition is a constant of this file, the values are bound.
        statement = f"SELECT {_COLUMNS} FROM certificate WHERE {where}"  # noqa: S608
        return [self._as_held(_entry(row)) for row in self._database.rows(statement, values)]

    def _as_held(self, entry: CertificateRecord) -> CertificateRecord:
        """As it is in force: the row may lack a revocation."""
        held = self._unwritten.get(entry.serial)
        if held is None or entry.revoked is not None:
            return entry
        return msgspec.structs.replace(
            entry, revoked=held.when, reason=held.reason, announced=held.announced
        )

    def _found(self, serials: Iterable[tuple[str]]) -> list[CertificateRecord]:
        entries = [entry for (serial,) in serials if (entry := self.find(serial)) is not None]
        return sorted(entries, key=lambda entry: (entry.issued, entry.serial))

    def _failed(self, error: Exception) -> AuthorityError:
        if isinstance(error, sqlite3.IntegrityError):  # as a trigger says it (`lives`)
            return AuthorityError(f"no certificate is signed: {error}")
        return AuthorityError(
            f"{self.path}: the issuance database cannot be used: {remedy_of(error)}"
        )


def _canonical(serial: str) -> str:
    """As serials are kept: "" for what is none."""
    digits = serial.replace(":", "")
    return serial_text(int(digits, 16)) if _SERIAL.fullmatch(digits) else ""


def _is_good(database: sqlite3.Connection, serial: str) -> bool:
    question = "SELECT 1 FROM certificate WHERE serial = ? AND revoked IS NULL"
    return database.execute(question, (serial,)).fetchone() is not None


def _note_announced(database: sqlite3.Connection, serials: Sequence[str]) -> None:
    statement = "UPDATE certificate SET announced = 1 WHERE serial = ?"
    database.executemany(statement, [(serial,) for serial in serials])


def _entry(row: tuple[object, ...]) -> CertificateRecord:
    names = _COLUMNS.replace(" ", "").split(",")
    values = dict(zip(names, row, strict=True))
    values["reason"] = values["reason"] or ""
    values["announced"] = bool(values["announced"])
    return msgspec.convert(values, CertificateRecord)
