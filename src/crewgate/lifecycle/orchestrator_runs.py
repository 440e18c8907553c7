"""Stores the runs of orchestrators under `crewgate run` in the register's database.

A run is stored before its process gets a certificate. Its state changes in this order only:

- running
- ending: the intent to decommission it; the CA issues no certificate to it any more
- untold: all is revoked and its process is gone, but the agent has not applied the end yet
- ended

This module ends no process and revokes nothing. All methods block; times are whole seconds since
the epoch.
"""

import enum
from collections.abc import Callable
from pathlib import Path

import msgspec

from crewgate import limits
from crewgate.ca.certificate_db import CertificateDB
from crewgate.errors import CAError
from crewgate.lifecycle.processes import RunProcess
from crewgate.runtime.base_sqlite_store import BaseSQLiteStore, remedy_of

# The triggers are in the database, so that an intent binds every program that signs: a certificate
# was either stored before the intent, and is found and revoked, or it is not stored at all.
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
CREATE TRIGGER IF NOT EXISTS no_branch_certificate_while_ending BEFORE INSERT ON certificate
    WHEN NEW.role = 'agent' AND EXISTS (SELECT 1 FROM life WHERE crew = NEW.crew
        AND name = NEW.name AND state = 'ending')
    BEGIN SELECT RAISE(ABORT, 'its orchestrator is being ended'); END;
CREATE TRIGGER IF NOT EXISTS no_certificate_after_the_end BEFORE INSERT ON certificate
    WHEN EXISTS (SELECT 1 FROM life WHERE instance = NEW.instance AND state != 'running')
    BEGIN SELECT RAISE(ABORT, 'its process has been ended'); END;
"""


class OrchestratorRunState(enum.StrEnum):
    """The state of a run; it changes only in this order, without leaving one out."""

    RUNNING = "running"
    ENDING = "ending"
    UNTOLD = "untold"
    ENDED = "ended"


_ORDER = list(OrchestratorRunState)


class OrchestratorRunRecord(msgspec.Struct, frozen=True):
    """One process of an orchestrator, from before its first certificate to after its last.

    `uid` is a user id that only this run has, or -1. `until` is the last time at which it could
    mint: tokens issued until then are revoked. A pid of 0 means that `crewgate run` did not start
    the orchestrator.
    """

    id: int
    crew: str
    name: str
    state: OrchestratorRunState
    instance: bytes = b""
    uid: int = -1
    pid: int = 0
    began: int = 0
    boot: str = ""
    until: int = 0

    @property
    def label(self) -> str:
        """The orchestrator, as `Identity.label` writes it; also its `client_id`."""
        return f"{self.crew}/{self.name}"

    @property
    def process(self) -> RunProcess:
        """The `crewgate run` that supervises the orchestrator."""
        return RunProcess(self.pid, self.began, self.boot)


class OrchestratorRunStore(BaseSQLiteStore):
    """The table of runs in the register at `path`. Use it in a `with`, and in one thread at a time.

    Each method may raise CAError, like those of `CertificateDB`.
    """

    def __init__(self, path: Path) -> None:
        # This creates the tables that the triggers need.
        CertificateDB(path).close()
        super().__init__(path)

    def begin(
        self,
        crew: str,
        name: str,
        process: RunProcess,
        instance: bytes,
        hold: Callable[[int], None],
        choose: Callable[[frozenset[int]], int] = lambda _: -1,
    ) -> OrchestratorRunRecord:
        """Store a new run of `process`. Raises CAError if the name has one already.

        `hold` gets the run's number before other processes can see the run, to take its liveness
        lock. `choose` gets the uids that belong to other runs, and returns one for this run, or -1.
        """
        with self._transaction() as database:
            running = self.running(crew, name)
            if running is not None:
                what = "is being decommissioned, which is not complete"
                if running.state is OrchestratorRunState.RUNNING:
                    what = f"runs already, as process {running.pid}"
                raise CAError(
                    f"{running.label} {what}; stop it with `crewgate decommission "
                    f"{running.label}`, or choose another name"
                )
            # The uids of the latest ended runs stay reserved: only the next run of the same
            # orchestrator may get the files that they left.
            uids = database.execute(
                "SELECT uid FROM life WHERE state != 'ended' UNION SELECT uid FROM (SELECT uid "
                "FROM life WHERE state = 'ended' AND uid >= 0 AND (crew != ? OR name != ?) "
                "ORDER BY id DESC LIMIT ?)",
                (crew, name, limits.run_uids_kept),
            ).fetchall()
            uid = choose(frozenset(uid for (uid,) in uids if uid >= 0))
            own = msgspec.structs.astuple(process)
            run = self._insert(
                OrchestratorRunRecord(
                    0, crew, name, OrchestratorRunState.RUNNING, instance, uid, *own
                )
            )
            hold(run.id)
            return run

    def request_stop(self, crew: str, name: str, now: int) -> OrchestratorRunRecord:
        """Store the intent to decommission an orchestrator, whether it runs or not."""
        with self._transaction():
            running = self.running(crew, name)
            if running is None:
                return self._insert(
                    OrchestratorRunRecord(0, crew, name, OrchestratorRunState.ENDING, until=now)
                )
            return self._move(running, OrchestratorRunState.ENDING, now)

    def request_stop_if_running(
        self, crew: str, name: str, now: int
    ) -> OrchestratorRunRecord | None:
        """Store the intent if the orchestrator is running; else store nothing and return None."""
        with self._transaction():
            running = self.running(crew, name)
            if running is None or running.state is not OrchestratorRunState.RUNNING:
                return None
            return self._move(running, OrchestratorRunState.ENDING, now)

    def move(self, number: int, state: OrchestratorRunState, now: int) -> OrchestratorRunRecord:
        """Change the state of a run to the next one; do nothing if it is there or further already.

        Raises ValueError if `state` is not the next one.
        """
        with self._transaction():
            return self._move(self._select("id = ?", number)[0], state, now)

    def running(self, crew: str, name: str) -> OrchestratorRunRecord | None:
        """Return the run of an orchestrator that is running or ending."""
        found = self._select("crew = ? AND name = ? AND state IN ('running', 'ending')", crew, name)
        return found[0] if found else None

    def open(self) -> list[OrchestratorRunRecord]:
        """Return all runs that have not ended, oldest first."""
        return self._select("state != 'ended' ORDER BY id")

    def until(self, crew: str, name: str) -> int:
        """Return `until` of the orchestrator's last run; 0 if there was none."""
        found = self._select("crew = ? AND name = ? ORDER BY until DESC LIMIT 1", crew, name)
        return found[0].until if found else 0

    def serials_to_revoke(self, run: OrchestratorRunRecord, now: int) -> list[str]:
        """Return the serials of the orchestrator's certificates, if this run is still ending.

        While it is ending, no certificate is issued to its name, so they all are of this run. The
        result is empty if another process has completed the decommission.
        """
        rows = self._rows(
            "SELECT serial FROM certificate WHERE role IN ('orchestrator', 'agent') AND crew = ? "
            "AND name = ? AND revoked IS NULL AND not_after >= ? "
            "AND EXISTS (SELECT 1 FROM life WHERE id = ? AND state = 'ending')",
            (run.crew, run.name, now - limits.clock_distrust_seconds, run.id),
        )
        return [serial for (serial,) in rows]

    def _prepare(self) -> None:
        ((count,),) = self._rows(
            "SELECT count(*) FROM sqlite_schema WHERE name IN ('life', 'living', 'lived', "
            "'no_certificate_while_ending', 'no_branch_certificate_while_ending', "
            "'no_certificate_after_the_end')"
        )
        # If all is there, write nothing: the disk may be full.
        if count < _SCHEMA.count("CREATE "):
            with self._asking() as connection:
                connection.executescript(_SCHEMA)

    def _insert(self, run: OrchestratorRunRecord) -> OrchestratorRunRecord:
        values = msgspec.structs.asdict(run) | {"id": None, "state": run.state.value}
        marks = ", ".join(f":{name}" for name in values)
        ((number,),) = self._rows(
            f"INSERT INTO life ({', '.join(values)}) VALUES ({marks}) RETURNING id",  # noqa: S608
            values,
        )
        return self._select("id = ?", number)[0]

    def _move(
        self, run: OrchestratorRunRecord, state: OrchestratorRunState, now: int
    ) -> OrchestratorRunRecord:
        before, after = _ORDER.index(run.state), _ORDER.index(state)
        if before >= after:
            return run
        if after != before + 1:
            raise ValueError(f"{run.label} is {run.state.value}, and cannot be {state.value} yet")
        until = run.until if state is OrchestratorRunState.ENDED else now
        self._rows(
            "UPDATE life SET state = ?, until = ? WHERE id = ?", (state.value, until, run.id)
        )
        # Only the last ended run of a name is needed.
        if state is OrchestratorRunState.ENDED:
            self._rows(
                "DELETE FROM life WHERE crew = ? AND name = ? AND state = 'ended' AND id < ?",
                (run.crew, run.name, run.id),
            )
        return self._select("id = ?", run.id)[0]

    def _select(self, where: str, *values: object) -> list[OrchestratorRunRecord]:
        return self._records(OrchestratorRunRecord, "life", where, values)

    def _failed(self, error: Exception) -> CAError:
        remedy = remedy_of(error, "control")
        return CAError(f"{self.path}: the runs of orchestrators cannot be stored: {remedy}")
