"""The files of a backup: copied while others write to them, with their digests in a manifest.

What is copied is on the disk when a function returns. A backup is not signed: a person who can
write to it can put other content there, so guard it like the machine itself.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path, PurePosixPath

import msgspec

from crewgate import limits
from crewgate.errors import BackupError
from crewgate.runtime.durable_files import describe, make_folder, sync_folder, write_all

FORMAT = 1
MANIFEST = "manifest.json"
WITHIN, ELSEWHERE = "within", "elsewhere"  # below the configuration's folder, and by whole path
SECRET = b"PRIVATE KEY-----"  # of PEM (RFC 7468), whatever the file is called


class BackedUpFile(msgspec.Struct, frozen=True):
    """One file: where it lies in the backup, which is below `within` or `elsewhere`."""

    path: str
    kind: str
    bytes: int
    sha256: str
    mode: int


class BackedUpLedger(msgspec.Struct, frozen=True):
    """The ledger as it was copied, or as it stands on its server: `is_copied` says which."""

    where: str
    is_copied: bool
    ledger: str = ""
    holder: str = ""
    count: int = 0
    term: int = 0


class BackupManifest(msgspec.Struct, frozen=True):
    """What a backup holds. `folder` is the configuration's, `config` its file's name."""

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
        """The first file of a kind."""
        return next((each for each in self.files if each.kind == kind), None)


def copy_file(source: Path, target: Path, mode: int) -> tuple[int, str]:
    """Size and SHA-256 of what was copied: as much as the file held when it was opened.

    The target must not be there yet. OSError.
    """
    digest, size = sha256(), 0
    with source.open("rb") as stream:
        left = os.fstat(stream.fileno()).st_size
        descriptor = _create(target, mode)
        try:
            while left > 0 and (data := stream.read(min(left, limits.backup_piece_bytes))):
                write_all(descriptor, data)
                digest.update(data)
                size, left = size + len(data), left - len(data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return size, digest.hexdigest()


def copy_database(source: Path, target: Path) -> tuple[int, str]:
    """The same of a SQLite file, as it stood at one moment, with what is in its log alone.

    BackupError if the copy is not sound.
    """
    os.close(_create(target, 0o600))
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True)) as theirs,
            closing(sqlite3.connect(target)) as ours,
        ):
            theirs.execute(f"PRAGMA busy_timeout = {round(limits.ledger_busy_seconds * 1000)}")
            theirs.backup(ours)
            ours.execute("PRAGMA journal_mode = DELETE")  # one file, whole in itself
            found = ours.execute("PRAGMA quick_check").fetchone()
    except sqlite3.Error as error:
        raise BackupError(f"{source}: cannot be copied: {error}") from error
    if found != ("ok",):
        raise BackupError(f"{source}: damaged, so it is not backed up: {found[0]}")
    with target.open("rb") as stream:
        os.fsync(stream.fileno())
    return target.stat().st_size, digest_of(target)


def digest_of(path: Path) -> str:
    """SHA-256 in hexadecimal; OSError."""
    digest = sha256()
    with path.open("rb") as stream:
        while data := stream.read(limits.backup_piece_bytes):
            digest.update(data)
    return digest.hexdigest()


def is_secret(path: Path) -> bool:
    """Whether a file holds a private key; OSError."""
    with path.open("rb") as stream:
        return SECRET in stream.read(limits.backup_piece_bytes)


def place_of(path: Path, folder: Path) -> str:
    """Where a file lies in a backup of a configuration in `folder`.

    The command may have named the folder through ".." or a symbolic link, and the folder begins the
    paths of the configuration's files as it was named.
    """
    home = Path(os.path.realpath(folder))
    if path.is_relative_to(folder):
        path = home / path.relative_to(folder)
    path = Path(os.path.normpath(path))  # "../first/ca", as a further machine names its CA
    if path.is_relative_to(home):
        return f"{WITHIN}/{path.relative_to(home)}"
    return f"{ELSEWHERE}{path}"


def target_of(place: str, folder: Path) -> Path:
    """Where a file of a backup belongs that is restored into `folder`; BackupError for no place."""
    parts = PurePosixPath(place).parts
    if len(parts) > 1 and ".." not in parts and "\0" not in place and not place.startswith("/"):
        if parts[0] == WITHIN:
            return folder.joinpath(*parts[1:])
        if parts[0] == ELSEWHERE:
            return Path("/", *parts[1:])
    raise BackupError(f"{place!r} is no place of a file; the backup was changed: use another one")


def make_folders(path: Path) -> None:
    """Make a folder, and those above it that are not there, for this user alone; OSError."""
    for each in (*reversed(path.parents), path):
        if not each.is_dir():
            make_folder(each, 0o700)


def sync_all(folder: Path) -> None:
    """Have the names of all that was written in a folder on the disk; OSError."""
    for each in (folder, *_folders_below(folder)):
        sync_folder(each)


def read_manifest(folder: Path) -> BackupManifest:
    """Of a backup whose files are what was written; BackupError says what is not."""
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
            f"{path}: a backup of format {manifest.format}, and this Crewgate knows {FORMAT}: "
            f"restore it with Crewgate {manifest.version}"
        )
    for saved in manifest.files:
        target_of(saved.path, Path("/"))
        file = folder / saved.path
        try:
            is_same = digest_of(file) == saved.sha256
        except OSError as error:
            raise BackupError(f"{describe(error, file)}: the backup lacks a file") from error
        if not is_same:
            raise BackupError(f"{file}: is not what was backed up; use another backup")
    return manifest


def _folders_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())


def _create(path: Path, mode: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, mode)
    os.fchmod(descriptor, mode)
    return descriptor
