"""The sessions of the live page on this machine: in memory, and in a file.

Memory decides. A caller answers a login or a logout only after `save`, so that no crash undoes what
a person was told. The file also keeps sessions across a restart. It has no secret: an id is stored
as its digest.
"""

import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import trio

from crewgate import limits
from crewgate.runtime.durable_files import describe, make_folder, write_file
from crewgate.runtime.ticks import sleep_until_tick
from crewgate.ui.endpoint import SessionEnd
from crewgate.ui.login.session import ProvenPerson, Session, StoredSession, digest_of

_log = logging.getLogger(__name__)
_ID_BYTES = 32


class _File(msgspec.Struct, frozen=True):
    sessions: list[StoredSession]


class Sessions:
    """At most `limits.ui_sessions_max` sessions; one loop uses them.

    Without a `path`, the file is left out: sessions end with the process. So do those of people
    who have come with a link of this process. `now` returns seconds since the epoch.
    """

    def __init__(self, path: Path | None, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        self._sessions: dict[str, Session] = {}
        self._changes = self._saved_changes = 0
        self._saved_at = now()
        self._lock = trio.Lock()
        self._problem = ""
        for each in [] if path is None else _read(path):
            self._sessions[each.digest] = Session(each)

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def problem(self) -> str:
        """Why the file cannot be written; empty if it can."""
        return self._problem

    def begin(self, person: ProvenPerson, key: bytes) -> str:
        """Begin a session for the browser with this key; return its id, which is a secret."""
        session_id = secrets.token_urlsafe(_ID_BYTES)
        now = int(self._now())
        self._make_room(person)
        stored = StoredSession(digest_of(session_id), key.hex(), person, now, now)
        self._sessions[stored.digest] = Session(stored)
        self._changes += 1
        return session_id

    def find(self, session_id: str) -> Session | None:
        """Return the session with this id, unless it has ended."""
        return self._sessions.get(digest_of(session_id))

    def use(self, session: Session) -> None:
        """Note that a session is used now."""
        session.used = int(self._now())

    def end(self, session: Session, why: SessionEnd) -> None:
        """End a session, if it has not ended."""
        if self._sessions.pop(session.digest, None) is not None:
            session.end = why
            self._changes += 1

    def end_if_over(self, session: Session, seconds: int, idle_seconds: int) -> None:
        """End a session whose time has come."""
        if session.is_over(int(self._now()), seconds, idle_seconds):
            self.end(session, "ended")

    def end_all_over(self, seconds: int, idle_seconds: int) -> None:
        """End all sessions whose time has come."""
        for each in list(self._sessions.values()):
            self.end_if_over(each, seconds, idle_seconds)

    async def save(self) -> None:
        """Wait until the file has what memory has now. Raises OSError."""
        wanted = self._changes
        if self._path is None:
            return
        async with self._lock:
            if self._saved_changes >= wanted:
                return
            changes, data = self._changes, self._encoded()
            try:
                await trio.to_thread.run_sync(_write, self._path, data)
            except OSError as error:
                self._problem = describe(error, self._path)
                raise
            self._problem = ""
            self._saved_changes, self._saved_at = changes, self._now()

    async def keep_saved(self) -> None:
        """Save what callers have not saved, and each minute when sessions were used."""
        while True:
            await sleep_until_tick(limits.ui_look_seconds)
            if abs(self._now() - self._saved_at) >= limits.ui_session_used_seconds:
                self._changes += bool(self._sessions)
                self._saved_at = self._now()
            try:
                await self.save()
            except OSError as error:
                _log.warning("the sessions of the live page cannot be stored: %s", describe(error))

    def _make_room(self, person: ProvenPerson) -> None:
        """End the least used session of a person who has too many, or of all people."""
        own = [each for each in self._sessions.values() if each.person.name == person.name]
        for held, most in (
            (own, limits.ui_sessions_of_one_max),
            ([*self._sessions.values()], limits.ui_sessions_max),
        ):
            if len(held) >= most:
                self.end(min(held, key=lambda each: (bool(each.pages), each.used)), "ended")

    def _encoded(self) -> bytes:
        kept = [each.stored() for each in self._sessions.values() if each.person.way != "local"]
        return msgspec.json.encode(_File(kept))


def _read(path: Path) -> list[StoredSession]:
    """Return the stored sessions; none if the file is bad, so that people log in again."""
    try:
        with path.open("rb") as file:
            data = file.read(limits.ui_session_file_bytes_max + 1)
    except FileNotFoundError:
        return []
    except OSError as error:
        _log.warning("everybody must log in again: %s", describe(error))
        return []
    try:
        if len(data) > limits.ui_session_file_bytes_max:
            raise ValueError  # noqa: TRY301 - one warning for each bad file
        found = msgspec.json.decode(data, type=_File).sessions
        for each in found:
            bytes.fromhex(each.key + each.person.certificate)
    except (ValueError, RecursionError):
        _log.warning("everybody must log in again: %s is not a file of sessions", path)
        return []
    return found[: limits.ui_sessions_max]


def _write(path: Path, data: bytes) -> None:
    make_folder(path.parent, 0o700, parents=True)
    write_file(path, data, 0o600)
