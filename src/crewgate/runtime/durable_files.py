"""Files that are whole and on the disk when the call returns, and stay so after a power loss.

A rename alone survives the death of a process, not that of the machine: the name may reach the disk
before the content, or never. So data is synced before it gets its name, and the folder after it
(fsync(2); Pillai et al. 2014, "All File Systems Are Not Created Equal"). Every function raises
OSError, whose `filename` is the path that the caller gave; `describe` puts it into words. Blocks.

All state is written here. A power loss during a call leaves, and after it nothing is undone:

    write_file, write_files   of each file the old content or the new one
    create_file               the whole file or none (without hard links perhaps an empty one)
    rename_file               the old name or the new one, of content that the caller has synced
    remove_file, make_folder  the name or none
    append                    a part of the data: readers skip a last record that is torn
    overwrite                 a part of the data in its place: readers check a digest
    open_to_append, write_all nothing yet: `append` or a sync follows, and `sync_folder` for a name
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

Owner = tuple[int, int]  # uid, gid

DRAFT_SUFFIX = ".draft"
_DRAFT_BYTES = 8  # of randomness in a draft's name: two writers of one file never share a draft

# link(2) on exFAT, FAT and shared folders of VirtualBox; on SMB; on some of FUSE's.
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}

# What a person can do about it. `{user}` is whom the kernel judged.
_MENDS = {
    errno.ENOSPC: "make room there (`df` and `df -i` show what is left)",
    errno.EDQUOT: "raise the disk quota of {user}, or remove files of that user",
    errno.EROFS: "the kernel's log says why this file system is read-only; mount it for writing",
    errno.EACCES: "give {user} the right to it and to the folders above it",
    errno.EPERM: "give {user} the right to it (`lsattr` shows a file that nothing may change)",
    errno.EIO: "the disk has failed: read the kernel's log, and replace the disk",
    errno.ENOENT: "put it there, or make its folder, or name another path",
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

# What SQLite says where a disk has no room (extended result codes, sqlite.org/rescode.html). Of a
# ledger that was closed it makes the shared memory anew, and calls that an error of the disk.
_SQLITE_FULL = {
    13,  # SQLITE_FULL
    10 | 3 << 8,  # SQLITE_IOERR_WRITE: also of a quota
    10 | 18 << 8,  # SQLITE_IOERR_SHMOPEN
    10 | 19 << 8,  # SQLITE_IOERR_SHMSIZE
    10 | 21 << 8,  # SQLITE_IOERR_SHMMAP
}


def write_file(path: Path, data: bytes, mode: int, *, owner: Owner | None = None) -> None:
    """Put `data` in the place of what `path` holds; a reader sees the old file or the new one.

    The new file has this mode, whatever the umask is, and belongs to `owner` (uid, gid), else to
    this process: both from its first moment. If an error is raised, the old file still stands,
    except where only the last step, the sync of the folder, has failed.
    """
    write_files({path: data}, mode, owner=owner)


def write_files(files: Mapping[Path, bytes], mode: int, *, owner: Owner | None = None) -> None:
    """The same for several, which takes the disk little more time than one.

    Each is old or new by itself: if an error is raised, some may be new. All are open at once.
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
    """The same for a file that must not be there yet: FileExistsError, and nothing has changed.

    Where the file system has no hard links, an empty file stands there for a moment. A process that
    is killed in that moment, or a power loss, may leave it; a part of `data` is never there.
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
    """Give a file, whose content the caller has synced, its name; replaces what has that name."""
    with _about(new):
        old.replace(new)
        sync_folder(new.parent)


def remove_file(path: Path) -> None:
    """Take a file away for good; one that is not there is as good."""
    with _about(path):
        try:
            path.unlink()
        except FileNotFoundError:
            return
        sync_folder(path.parent)


def open_to_append(path: Path, mode: int) -> int:
    """The descriptor of a file that is made if it is not there; to read, and to write at its end.

    A new file's name is on the disk after `sync_folder`.
    """
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, mode)


def write_all(descriptor: int, data: bytes) -> None:
    """Have the kernel take all of it; if an error is raised, it may have taken a part."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def append(descriptor: int, data: bytes) -> None:
    """Write at the end of an open file, and wait until the disk has it and the new size."""
    write_all(descriptor, data)
    os.fdatasync(descriptor)


def overwrite(path: Path, offset: int, data: bytes) -> None:
    """Write over a part of a file, whose room is taken; a power loss may leave a part of `data`."""
    with _about(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.lseek(descriptor, offset, os.SEEK_SET)
            write_all(descriptor, data)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


def make_folder(path: Path, mode: int, *, parents: bool = False) -> bool:
    """Make a folder if it is not there; whether it was not. Those above it get the usual mode.

    A new folder has this mode, whatever the umask is; one that was there keeps its own.
    """
    if parents:
        for above in reversed(path.parents):
            if not above.exists():
                _make_folder(above, 0o777)
    if not _make_folder(path, mode):
        return False
    with _about(path):
        made = stat.S_IMODE(path.stat().st_mode)
        if mode & ~made:  # the umask took a part; what the folder above gave (setgid) stays
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
    """Wait until the disk knows which names stand in a folder.

    A folder that this process may write and not read cannot be opened for it: then all file systems
    are synced, which takes longer. One whose file system knows no such thing is left as it is.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        os.sync()
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # fsync(2): the file system has no synchronisation
            raise
    finally:
        os.close(descriptor)


def remove_drafts(folder: Path) -> None:
    """Remove the drafts of writers that were killed in the middle; never raises.

    A draft of another process that is alive is younger than any that this removes.
    """
    now = time.time()
    with suppress(OSError):
        for path in folder.glob(f".*{DRAFT_SUFFIX}"):
            with suppress(OSError):
                if now - path.lstat().st_mtime > limits.draft_seconds_max:
                    path.unlink()


def cause(error: OSError) -> str:
    """What the kernel said, and what to do about it: the end of a sentence that names the path."""
    said = error.strerror or str(error) or type(error).__name__
    mend = _MENDS.get(error.errno or 0, "")
    return f"{said}; {mend.format(user=f'user {os.geteuid()}')}" if mend else said


def describe(error: OSError, path: Path | None = None) -> str:
    """An error for a person: path, cause and what to do. `path` is for an error that has none."""
    where = error.filename if isinstance(error.filename, str | bytes) else path
    return f"{os.fsdecode(where)}: {cause(error)}" if where is not None else cause(error)


def is_full(error: BaseException | None) -> bool:
    """Whether an error comes of a disk that is full, which passes when somebody makes room."""
    while error is not None:
        number = error.errno if isinstance(error, OSError) else None
        code = getattr(error, "extendedresult", None)  # apsw's, which this module does not load
        if number in {errno.ENOSPC, errno.EDQUOT} or code in _SQLITE_FULL:
            return True
        error = error.__cause__
    return False


@contextmanager
def _about(path: Path) -> Iterator[None]:
    """Name in an error the path that the caller knows, not a draft's or a folder's."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def _rename_to_new(draft: Path, path: Path) -> None:
    """Rename a draft to a name that is free: an empty file takes it first, as only one can."""
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
    """A file beside `path` with all the data, open, and not synced yet; gone afterwards.

    Beside it, so that the rename stays within one file system and is one step.
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
