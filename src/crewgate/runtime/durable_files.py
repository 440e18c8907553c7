"""Writes files so that they are complete after a crash or a power loss.

A rename alone survives the death of a process, not a power loss: the name may reach the disk before
the content, or never. So these functions sync the data, then rename, then sync the folder
(fsync(2); Pillai et al. 2014, "All File Systems Are Not Created Equal"). Every function raises
OSError with the caller's path in `filename`; `describe` makes a sentence of it. Blocks.

All state goes through this module. After a call returns, a power loss undoes nothing. A power loss
during a call leaves:

    write_file, write_files   of each file the old content or the new one
    create_file               the whole file or none (without hard links perhaps an empty one)
    rename_file               the old name or the new one; the caller has synced the content
    remove_file, make_folder  the name or none
    append                    a part of the data: readers skip an incomplete last record
    overwrite                 a part of the data in its place: readers check a digest
    open_to_append, write_all no guarantee until `append` or fsync, and `sync_folder` for the name
"""

import errno
import os
import secrets
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from crewgate import limits
from crewgate.runtime.cleanup import lent

Owner = tuple[int, int]  # uid, gid

DRAFT_SUFFIX = ".draft"
# Random bytes in the name of a draft, so that two writers of one file never share a draft.
_DRAFT_BYTES = 8

# link(2) fails with these on exFAT, FAT and VirtualBox shares; on SMB; on some FUSE file systems.
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}

# What the operator can do about an error. `{user}` is the user that this process runs as.
_MENDS = {
    errno.ENOSPC: "make room there (`df` and `df -i` show what is left)",
    errno.EDQUOT: "raise the disk quota of {user}, or remove files of that user",
    errno.EROFS: "the kernel's log says why this file system is read-only; mount it for writing",
    errno.EACCES: "give {user} the right to it and to the folders above it",
    errno.EPERM: "give {user} the right to it (`lsattr` shows whether a file is immutable)",
    errno.EIO: "the disk has failed: read the kernel's log, and replace the disk",
    errno.ENOENT: "the file or a folder above it is missing: make it, or name another path",
    errno.ENOTDIR: "a part of this path is no folder; name another path",
    errno.EISDIR: "a folder stands there; remove it, or name another path",
    errno.EEXIST: "nothing is overwritten; choose another name, or remove what stands there",
    errno.ELOOP: "a symbolic link stands there; put the file itself in its place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the limit on open files of this process (`ulimit -n`)",
    errno.ENFILE: "raise the limit on open files of this machine (`sysctl fs.file-max`)",
    errno.EFBIG: "raise the limit on the size of a file (`ulimit -f`)",
    errno.ESTALE: "the server of this file system has lost it; mount the file system again",
}

# SQLite's extended result codes when a disk is full (sqlite.org/rescode.html). When SQLite opens a
# closed ledger, it creates the shared memory again and reports a full disk as an I/O error.
_SQLITE_FULL = {
    13,  # SQLITE_FULL
    10 | 3 << 8,  # SQLITE_IOERR_WRITE, also when a quota is used up
    10 | 18 << 8,  # SQLITE_IOERR_SHMOPEN
    10 | 19 << 8,  # SQLITE_IOERR_SHMSIZE
    10 | 21 << 8,  # SQLITE_IOERR_SHMMAP
}


def write_file(path: Path, data: bytes, mode: int, *, owner: Owner | None = None) -> None:
    """Replace the content of `path` by `data`; a reader sees the old file or the new one.

    From its first moment, the new file has this mode, whatever the umask is, and belongs to `owner`
    (uid, gid) or else to this process's user. If this raises, the old file is still there, unless
    only the last step, the sync of the folder, failed.
    """
    write_files({path: data}, mode, owner=owner)


def write_files(files: Mapping[Path, bytes], mode: int, *, owner: Owner | None = None) -> None:
    """Replace several files as `write_file` does, in little more time than one takes.

    If this raises, some files may be new and others old. All are open at once.
    """
    with ExitStack() as stack:
        drafts = {
            path: stack.enter_context(_draft(path, data, mode, owner))
            for path, data in files.items()
        }
        for path, (_, descriptor) in drafts.items():
            with _about(path):
                os.fsync(descriptor)
        for path, (draft, _) in drafts.items():
            with _about(path):
                draft.replace(path)
        for folder in {path.parent for path in files}:
            with _about(folder):
                sync_folder(folder)


def create_file(path: Path, data: bytes, mode: int, *, owner: Owner | None = None) -> None:
    """Write a new file as `write_file` does; FileExistsError if it exists, and nothing changes.

    On a file system without hard links, an empty file is there for a moment. A kill or a power loss
    in that moment may leave the empty file, but never a part of `data`.
    """
    with _draft(path, data, mode, owner) as (draft, descriptor), _about(path):
        os.fsync(descriptor)
        try:
            path.hardlink_to(draft)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            _rename_to_new(draft, path)
        else:
            draft.unlink()
        sync_folder(path.parent)


def rename_file(old: Path, new: Path) -> None:
    """Rename a file whose content the caller has synced; replace any file with the new name."""
    with _about(new):
        old.replace(new)
        sync_folder(new.parent)


def remove_file(path: Path) -> None:
    """Remove a file durably, if it exists."""
    with _about(path):
        try:
            path.unlink()
        except FileNotFoundError:
            return
        sync_folder(path.parent)


def open_to_append(path: Path, mode: int) -> int:
    """Open a file to read and to append, create it if it is missing, and return its descriptor.

    After `sync_folder`, the name of a new file survives a power loss.
    """
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, mode)


def write_all(descriptor: int, data: bytes) -> None:
    """Pass all of `data` to the kernel. If this raises, the kernel may have taken a part."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def append(descriptor: int, data: bytes) -> None:
    """Append to an open file, and wait until the data and the new size are on the disk."""
    write_all(descriptor, data)
    os.fdatasync(descriptor)


def overwrite(path: Path, offset: int, data: bytes) -> None:
    """Overwrite a part of a file in place; a power loss may leave only a part of `data`."""
    flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    with _about(path), lent(os.open(path, flags)) as descriptor:
        os.lseek(descriptor, offset, os.SEEK_SET)
        write_all(descriptor, data)
        os.fdatasync(descriptor)


def make_folder(path: Path, mode: int, *, parents: bool = False) -> bool:
    """Create a folder if it is missing; return whether it was.

    A new folder has this mode, whatever the umask is; an existing one keeps its own. With
    `parents`, missing folders above it get the usual mode.
    """
    if parents:
        for above in reversed(path.parents):
            if not above.exists():
                _make_folder(above, 0o777)
    if not _make_folder(path, mode):
        return False
    with _about(path):
        made = stat.S_IMODE(path.stat().st_mode)
        # The umask may have removed bits. Keep bits that come from the folder above (setgid).
        if mode & ~made:
            path.chmod(made | mode)
            sync_folder(path)
    return True


def _make_folder(path: Path, mode: int) -> bool:
    with _about(path):
        try:
            path.mkdir(mode)
        except FileExistsError:
            if not path.is_dir():
                raise
            return False
        sync_folder(path.parent)
    return True


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk.

    If this process may not read the folder, it cannot open it, so all file systems are synced,
    which takes longer. Does nothing if the file system cannot sync folders.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        os.sync()
        return
    with lent(descriptor):
        try:
            os.fsync(descriptor)
        except OSError as error:
            # fsync(2): EINVAL means that the file system does not support it.
            if error.errno != errno.EINVAL:
                raise


def remove_drafts(folder: Path) -> None:
    """Remove the drafts that killed writers left; never raises.

    Only drafts older than `limits.draft_seconds_max` go: no live writer has an older one.
    """
    now = time.time()
    with suppress(OSError):
        for path in folder.glob(f".*{DRAFT_SUFFIX}"):
            with suppress(OSError):
                if now - path.lstat().st_mtime > limits.draft_seconds_max:
                    path.unlink()


def cause(error: OSError) -> str:
    """Return the kernel's reason and what to do: the end of a sentence that names the path."""
    reason, mend = _reason(error), mend_of(error)
    return f"{reason}; {mend}" if mend else reason


def mend_of(error: OSError) -> str:
    """Return what to do about an error; empty if this module does not know it."""
    return _MENDS.get(error.errno or 0, "").format(user=f"user {os.geteuid()}")


def describe(error: OSError, path: Path | None = None) -> str:
    """Return path, cause and mend of an error as text. `path` is for an error that names none."""
    return _with_path(error, path, cause(error))


def reason_at(error: OSError, path: Path | None = None) -> str:
    """Return what `describe` returns, but not what to do."""
    return _with_path(error, path, _reason(error))


def _with_path(error: OSError, path: Path | None, text: str) -> str:
    where = error.filename if isinstance(error.filename, str | bytes) else path
    return f"{os.fsdecode(where)}: {text}" if where is not None else text


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk caused an error, so that the error ends when there is room again."""
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        # Errors of apsw, which this module does not import, have this attribute.
        code = getattr(error, "extendedresult", None)
        if number in {errno.ENOSPC, errno.EDQUOT} or code in _SQLITE_FULL:
            return True
        error = error.__cause__
    return False


@contextmanager
def _about(path: Path) -> Iterator[None]:
    """Put the caller's path into any OSError, instead of the path of a draft or a folder."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def _rename_to_new(draft: Path, path: Path) -> None:
    """Rename a draft to a free name, which an empty file claims first: only one process can."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    os.close(os.open(path, flags, 0o600))
    try:
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


@contextmanager
def _draft(path: Path, data: bytes, mode: int, owner: Owner | None) -> Iterator[tuple[Path, int]]:
    """Yield a temporary file with all the data, open and not synced yet; remove it afterwards.

    It is beside `path`, so that the rename stays within one file system and is atomic.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(_DRAFT_BYTES)}{DRAFT_SUFFIX}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with _about(path):
        descriptor = os.open(draft, flags, mode)
    try:
        with _about(path):
            if owner is not None and owner != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, *owner)
            os.fchmod(descriptor, mode)
            write_all(descriptor, data)
        yield draft, descriptor
    finally:
        os.close(descriptor)
        with suppress(OSError):
            draft.unlink()
