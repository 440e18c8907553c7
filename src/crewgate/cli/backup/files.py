"""Copies files while other processes write to them, and keeps their digests in a manifest.

A copy is on disk when the function that made it returns. A backup is not signed: a person who can
write to a backup can put other content there, so protect a backup like the machine itself.
"""

import os
import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path, PurePosixPath

import msgspec

from crewgate import limits
from crewgate.errors import BackupError
from crewgate.runtime.cleanup import lent
from crewgate.runtime.durable_files import describe, make_folder, sync_folder, write_all

FORMAT = 1
MANIFEST = "manifest.json"
# A file from below the configuration's folder is `within` it. Any other file is `elsewhere`, by its
# absolute path.
WITHIN, ELSEWHERE = "within", "elsewhere"
# Each private key in PEM (RFC 7468) has this text, whatever the file is called.
SECRET = b"PRIVATE KEY-----"


class BackedUpFile(msgspec.Struct, frozen=True):
    """One copied file; `path` is its place in the backup, below `within` or `elsewhere`."""

    path: str
    kind: str
    bytes: int
    sha256: str
    mode: int


class BackedUpLedger(msgspec.Struct, frozen=True):
    """The ledger and its counts: of the copy if `is_copied`, else of the server as last known."""

    where: str
    is_copied: bool
    ledger: str = ""
    holder: str = ""
    count: int = 0
    term: int = 0


class BackupManifest(msgspec.Struct, frozen=True):
    """The content of a backup. `folder` is the configuration's folder, `config` its file name."""

    format: int
    version: str
    made: str
    host: str
    folder: str
    config: str
    state: str
    with_keys: bool
    with_audit: bool
    ledger: BackedUpLedger
    files: list[BackedUpFile]
    folders: dict[str, int]
    left_out: list[str]

    def file(self, kind: str) -> BackedUpFile | None:
        """Return the first file of a kind, or None."""
        return next((each for each in self.files if each.kind == kind), None)


def copy_file(source: Path, target: Path, mode: int) -> tuple[int, str]:
    """Copy a file as long as it was when it was opened; return the copied size and its SHA-256.

    Raises OSError if the target exists, or a file cannot be read or written.
    """
    digest, size = sha256(), 0
    with source.open("rb") as stream:
        left = os.fstat(stream.fileno()).st_size
        with lent(_create(target, mode)) as descriptor:
            while left > 0 and (data := stream.read(min(left, limits.backup_piece_bytes))):
                write_all(descriptor, data)
                digest.update(data)
                size, left = size + len(data), left - len(data)
            os.fsync(descriptor)
    return size, digest.hexdigest()


def copy_database(source: Path, target: Path) -> tuple[int, str]:
    """Copy a SQLite file as of one moment, with its write-ahead log; return size and SHA-256.

    Raises BackupError if the database cannot be copied, or the copy is damaged.
    """
    os.close(_create(target, 0o600))
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True)) as theirs,
            closing(sqlite3.connect(target)) as ours,
        ):
            theirs.execute(f"PRAGMA busy_timeout = {round(limits.ledger_busy_seconds * 1000)}")
            theirs.backup(ours)
            # The copy then needs no write-ahead log beside it.
            ours.execute("PRAGMA journal_mode = DELETE")
            found = ours.execute("PRAGMA quick_check").fetchone()
    except sqlite3.Error as error:
        raise BackupError(f"{source}: cannot be copied: {error}") from error
    if found != ("ok",):
        raise BackupError(f"{source}: damaged, so it is not backed up: {found[0]}")
    with target.open("rb") as stream:
        os.fsync(stream.fileno())
    return target.stat().st_size, digest_of(target)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal; OSError."""
    digest = sha256()
    with path.open("rb") as stream:
        while data := stream.read(limits.backup_piece_bytes):
            digest.update(data)
    return digest.hexdigest()


def is_secret(path: Path) -> bool:
    """Whether a file holds a private key in PEM; OSError."""
    with path.open("rb") as stream:
        return SECRET in stream.read(limits.backup_piece_bytes)


def place_of(path: Path, folder: Path) -> str:
    """Return the place of a file in a backup of the configuration in `folder`.

    A person may have named the folder through ".." or a symbolic link, and the paths of the
    configuration's files begin with the folder as it was named.
    """
    home = Path(os.path.realpath(folder))
    if path.is_relative_to(folder):
        path = home / path.relative_to(folder)
    # A further machine names its CA as in "../first/ca".
    path = Path(os.path.normpath(path))
    if path.is_relative_to(home):
        return f"{WITHIN}/{path.relative_to(home)}"
    return f"{ELSEWHERE}{path}"


def target_of(place: str, folder: Path) -> Path:
    """Return the path of a file that is restored into `folder`; BackupError for a bad place."""
    parts = PurePosixPath(place).parts
    if len(parts) > 1 and ".." not in parts and "\0" not in place and not place.startswith("/"):
        if parts[0] == WITHIN:
            return folder.joinpath(*parts[1:])
        if parts[0] == ELSEWHERE:
            return Path("/", *parts[1:])
    raise BackupError(
        f"{place!r}: not the place of a file; the backup was changed: use another one"
    )


def make_folders(path: Path) -> None:
    """Create a folder and its missing parents, readable by this user only; OSError."""
    for each in (*reversed(path.parents), path):
        if not each.is_dir():
            make_folder(each, 0o700)


def sync_all(folder: Path) -> None:
    """Sync the folder and all folders below it, so that each name in them is on disk; OSError."""
    below = (path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())
    for each in (folder, *below):
        sync_folder(each)


def read_manifest(folder: Path) -> BackupManifest:
    """Read the manifest and verify each file of a backup; BackupError names what is wrong."""
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BackupError(f"{describe(error, path)}: is this a backup?") from error
    try:
        manifest = msgspec.json.decode(data, type=BackupManifest)
    except (msgspec.DecodeError, ValueError) as error:
        raise BackupError(f"{path}: cannot be read ({error}); use another backup") from error
    if manifest.format != FORMAT:
        raise BackupError(
            f"{path}: has format {manifest.format}, but this Crewgate reads only format {FORMAT}: "
            f"restore the backup with Crewgate {manifest.version}"
        )
    for saved in manifest.files:
        target_of(saved.path, Path("/"))
        file = folder / saved.path
        try:
            is_same = digest_of(file) == saved.sha256
        except OSError as error:
            raise BackupError(f"{describe(error, file)}: the backup lacks a file") from error
        if not is_same:
            raise BackupError(f"{file}: changed since the backup was made; use another backup")
    return manifest


def _create(path: Path, mode: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, mode)
    os.fchmod(descriptor, mode)
    return descriptor
