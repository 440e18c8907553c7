"""A PostgreSQL server for the tests of one process: made when first asked for, ended with it.

Its folder is in memory where that can be had, and nothing of it is ever synced: what a disk keeps
is tested with servers of their own.
"""

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import psycopg
import pytest
from installation import wait_until

_LAZY = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
_SHARED_MEMORY = Path("/dev/shm")


class Server:
    """A cluster in a folder of its own, reached by a unix socket in it; nobody else's."""

    def __init__(self, settings: Sequence[str] = _LAZY, primary: "Server | None" = None) -> None:
        """With a `primary` it is a standby of that, which has all of it by now."""
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not programs:
            pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
        self._bin = programs[-1].parent
        above = _SHARED_MEMORY if settings is _LAZY and _SHARED_MEMORY.is_dir() else None
        self.folder = Path(tempfile.mkdtemp(prefix="crewgate-postgres-", dir=above))
        self._as = {}
        if os.geteuid() == 0:  # the server does not run as root
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._settings = [
            "listen_addresses=", f"unix_socket_directories={self.folder}", "max_connections=200",
            *settings,
        ]  # fmt: skip
        if primary is None:
            initialise = ["initdb", "-A", "trust", "-U", "crewgate"]
        else:  # -R: it goes on to follow, under a name for synchronous_standby_names
            source = f"user=crewgate host={primary.folder} application_name=standby"
            initialise = ["pg_basebackup", "-R", "-c", "fast", "-d", source]
        program, *arguments = initialise
        subprocess.run(
            [self._bin / program, *arguments, "-D", self._data, "--no-sync"],
            check=True,
            capture_output=True,
            cwd="/",
            **self._as,
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str = "postgres") -> str:
        """Where it is reached."""
        return f"postgresql://crewgate@/{database}?host={self.folder}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = [part for setting in self._settings for part in ("-c", setting)]
        log = self.folder / "log"
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._data, *options],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, cwd="/", **self._as,
            )  # fmt: skip
        wait_until(self._answers)

    def fail_over(self) -> None:
        """Become another server, as a standby does that is promoted: a timeline of its own."""
        self.stand_by()
        self.promote()

    def stand_by(self) -> None:
        """Start again as a standby, which follows nobody."""
        self.stop()
        (self._data / "standby.signal").touch()
        self.start()

    def lead(self) -> None:
        """Start again as what it was before `stand_by`, on the same timeline."""
        self.stop()
        (self._data / "standby.signal").unlink()
        self.start()

    def promote(self) -> None:
        """A standby takes over, on a timeline of its own."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute("SELECT pg_promote()")

    def follow_by(self, standbys: str) -> None:
        """Wait from now on, with every commit, for these: `synchronous_standby_names`."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = " + f"'{standbys}'")
            connection.execute("SELECT pg_reload_conf()")

    def new_database(self, name: str) -> str:
        """An empty one, and its URL."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self.url(name)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: at once and in order. SIGKILL of the postmaster ends its children too."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def end(self) -> None:
        """Stop it for good."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


@lru_cache(maxsize=1)
def server() -> Server:
    """This process's."""
    made = Server()
    atexit.register(made.end)
    return made
