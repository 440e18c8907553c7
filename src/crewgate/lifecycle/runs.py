"""The lives of orchestrators under `crewgate run`, in the register's database: the durable intents.

A life is written down before its process gets a certificate, and moves on in one direction only:
running, ending (an intent: no certificate is signed any more), untold (all is revoked, the process
is gone, the gateway has not heard), ended. Knows no key and ends nothing itself. Blocks; times are
whole seconds since the epoch.
"""

import enum
from collections.abc import Callable
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.ca.certificate_db import CertificateDB
from crewgate.ca.sqlite import CAStore, remedy_of
from crewgate.errors import AuthorityError
from crewgate.lifecycle.processes import NOBODY, RunProcess

_COLUMNS = "id, crew, name, state, instance, uid, pid, began, boot, until"
# The triggers stand in the database, so that whoever signs, with whatever program, is bound by the
# intent: either a certificate was entered before it and is found, or it is not entered at all.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS life (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    crew TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    instance BLOB NOT NULL,
    uid INTEGER NOT NULL,
    pid INTEGER NOT NULL,
    began INTEGER NOT NULL,
    boot TEXT NOT NULL,
    until INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS living ON life (crew, name)
    WHERE state IN ('running', 'ending');
CREATE INDEX IF NOT EXISTS lived ON life (instance);
CREATE TRIGGER IF NOT EXISTS no_certificate_while_ending BEFORE INSERT ON certificate
    WHEN NEW.role = 'orchestrator' AND EXISTS (SELECT 1 FROM life WHERE crew = NEW.crew
        AND name = NEW.name AND state = 'ending')
    BEGIN SELECT RAISE(ABORT, 'its orchestrator is being ended'); END;
CREATE TRIGGER IF NOT EXISTS no_certificate_after_the_end BEFORE INSERT ON certificate
    WHEN EXISTS (SELECT 1 FROM life WHERE instance = NEW.instance AND state != 'running')
    BEGIN SELECT RAISE(ABORT, 'its process has been ended'); END;
"""


class RunState(enum.StrEnum):
    """Where a life is; the order is the only way."""

    RUNNING = "running"
    ENDING = "ending"
    UNTOLD = "untold"
    ENDED = "ended"


_ORDER = list(RunState)


class Run(msgspec.Struct, frozen=True):
    """One process of an orchestrator, from before its first certificate to after its last.

    `uid` is its own alone, -1 if it has none of that kind; `until` is when it was last known to
    mint: tokens issued by then are dead. A life without a process was ended without one.
    """

    id: int
    crew: str
    name: str
    state: RunState
    instance: bytes
    uid: int
    pid: int
    began: int
    boot: str
    until: int

    @property
    def label(self) -> str:
        """As `Identity.label`; also the orchestrator's `client_id`."""
        return f"{self.crew}/{self.name}"

    @property
    def process(self) -> RunProcess:
        """Its supervisor."""
        return RunProcess(self.pid, self.began, self.boot)


class RunStore(CAStore):
    """The table of lives in the register at `path`; use it in a `with`, in one thread at a time.

    Every method may raise AuthorityError, as those of `CertificateDB`.
    """

    def __init__(self, path: Path) -> None:
        CertificateDB(path).close()  # the triggers need its tables
        super().__init__(path)

    def begin(
        self,
        crew: str,
        name: str,
        process: RunProcess,
        instance: bytes,
        hold: Callable[[int], None],
        choose: Callable[[frozenset[int]], int] = lambda _: -1,
    ) -> Run:
        """Write down that `process` is about to live; AuthorityError if the name does already.

        `hold` is given the life's number before anybody else can see it: its pulse. `choose` is
        given the uids that are others' own, and returns one for this life, or -1.
        """
        with self._database.transaction() as database:
            running = self._running(crew, name)
            if running is not None:
                raise AuthorityError(
                    f"{running.label} {_describe(running)}; end it with `crewgate decommission "
                    f"{running.label}`, or choose another name"
                )
            # Of ended ones too, the latest: their files are there for their next life alone.
            uids = database.execute(
                "SELECT uid FROM life WHERE state != 'ended' UNION SELECT uid FROM (SELECT uid "
                "FROM life WHERE state = 'ended' AND uid >= 0 AND (crew != ? OR name != ?) "
                "ORDER BY id DESC LIMIT ?)",
                (crew, name, limits.run_uids_kept),
            ).fetchall()
            uid = choose(frozenset(uid for (uid,) in uids if uid >= 0))
            run = self._insert(crew, name, RunState.RUNNING, process, instance, uid, until=0)
            hold(run.id)
            return run

    def request_stop(self, crew: str, name: str, now: int) -> Run:
        """Write down that the orchestrator of that name is to end, whether it lives or not."""
        with self._database.transaction():
            running = self._running(crew, name)
            if running is None:
                return self._insert(crew, name, RunState.ENDING, NOBODY, b"", -1, until=now)
            return self._move(running, RunState.ENDING, now)

    def request_stop_if_running(self, crew: str, name: str, now: int) -> Run | None:
        """The same for a name that lives; None where it does not, and nothing is written down."""
        with self._database.transaction():
            running = self._running(crew, name)
            if running is None or running.state is not RunState.RUNNING:
                return None
            return self._move(running, RunState.ENDING, now)

    def move(self, number: int, state: RunState, now: int) -> Run:
        """Move a life on by one step; where it is there or further already, nothing changes.

        ValueError for a step that is left out.
        """
        with self._database.transaction():
            return self._move(self._one(number), state, now)

    def running(self, crew: str, name: str) -> Run | None:
        """The life of that name which has not ended."""
        return self._running(crew, name)

    def open(self) -> list[Run]:
        """Every life that has not ended, oldest first."""
        return self._select("state != 'ended' ORDER BY id")

    def until(self, crew: str, name: str) -> int:
        """When the last life of that name was over; 0 if there was none."""
        found = self._select("crew = ? AND name = ? ORDER BY until DESC LIMIT 1", crew, name)
        return found[0].until if found else 0

    def serials_to_revoke(self, run: Run, now: int) -> list[str]:
        """The serials that end with this life: all that its name has, or none if others did it.

        While it is ending no other certificate is entered, so none of a later life is among them.
        """
        rows = self._database.rows(
            "SELECT serial FROM certificate WHERE role = 'orchestrator' AND crew = ? "
            "AND name = ? AND revoked IS NULL AND not_after >= ? "
            "AND EXISTS (SELECT 1 FROM life WHERE id = ? AND state = 'ending')",
            (run.crew, run.name, now - limits.clock_distrust_seconds, run.id),
        )
        return [serial for (serial,) in rows]

    def _prepare(self) -> None:
        ((count,),) = self._database.rows(
            "SELECT count(*) FROM sqlite_schema WHERE name IN ('life', 'living', 'lived', "
            "'no_certificate_while_ending', 'no_certificate_after_the_end')"
        )
        if count < _SCHEMA.count("CREATE "):  # else nothing is written: the disk may be full
            with self._database.asking() as connection:
                connection.executescript(_SCHEMA)

    def _running(self, crew: str, name: str) -> Run | None:
        found = self._select("crew = ? AND name = ? AND state IN ('running', 'ending')", crew, name)
        return found[0] if found else None

    def _one(self, number: int) -> Run:
        return self._select("id = ?", number)[0]

    def _insert(
        self,
        crew: str,
        name: str,
        state: RunState,
        process: RunProcess,
        instance: bytes,
        uid: int,
        *,
        until: int,
    ) -> Run:
        columns = _COLUMNS.removeprefix("id, ")
        ((number,),) = self._database.rows(
            f"INSERT INTO life ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608
            "RETURNING id",
            (crew, name, state.value, instance, uid, *msgspec.structs.astuple(process), until),
        )
        return self._one(number)

    def _move(self, run: Run, state: RunState, now: int) -> Run:
        before, after = _ORDER.index(run.state), _ORDER.index(state)
        if before >= after:
            return run
        if after != before + 1:
            raise ValueError(f"{run.label} is {run.state.value}, and not yet to be {state.value}")
        until = run.until if state is RunState.ENDED else now
        self._database.rows(
            "UPDATE life SET state = ?, until = ? WHERE id = ?", (state.value, until, run.id)
        )
        if state is RunState.ENDED:  # of a name, its last life says all that is asked for
            self._database.rows(
                "DELETE FROM life WHERE crew = ? AND name = ? AND state = 'ended' AND id < ?",
                (run.crew, run.name, run.id),
            )
        return self._one(run.id)

    def _select(self, where: str, *values: object) -> list[Run]:
        # The condition is a constant of this file, the values are bound.
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM life WHERE {where}", values)  # noqa: S608
        names = _COLUMNS.split(", ")
        return [msgspec.convert(dict(zip(names, row, strict=True)), Run) for row in rows]

    def _failed(self, error: Exception) -> AuthorityError:
        return AuthorityError(
            f"{self.path}: the orchestrators' lives cannot be kept: {remedy_of(error)}"
        )


def _describe(run: Run) -> str:
    if run.state is RunState.RUNNING:
        return f"runs already, as process {run.pid}"
    return "is being ended, and that is not complete"
