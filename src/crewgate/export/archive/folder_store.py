"""An archive in a folder of this machine, or of a file server.

It makes folders below that folder, but never the folder itself: a file system that is not mounted
must not be taken for it. It follows no link below it.
"""

import errno
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import trio

from crewgate import limits
from crewgate.errors import (
    ObjectExistsError,
    ObjectMissingError,
    ReceiverError,
    UnreadableObjectError,
)
from crewgate.export.archive.listing import Listing, StoredObject
from crewgate.runtime.cleanup import on_error
from crewgate.runtime.durable_files import (
    DRAFT_SUFFIX,
    create_file,
    make_folder,
    mend_of,
    reason_at,
    remove_drafts,
    remove_file,
    sync_folder,
)

P = ParamSpec("P")
T = TypeVar("T")

# The group of the folder may read the archive: an operator chooses it with chgrp and chmod g+s.
_FOLDER_MODE, _FILE_MODE = 0o750, 0o640
_MOUNT: Final = "see that its file system is mounted, or correct `folder`"
# Of a file that is a link, a socket or another's.
_UNREADABLE = frozenset({errno.ELOOP, errno.ENXIO, errno.EACCES, errno.EPERM})


class FolderStore:
    """See `ArchiveStore`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._cleaned: set[Path] = set()

    async def list(self, folder: str) -> Listing:
        """See `ArchiveStore`. Unfinished files are left out."""
        return await self._run(self._list, folder)

    async def put(self, name: str, data: bytes) -> None:
        """See `ArchiveStore`."""
        await self._run(self._put, name, data)

    async def get(self, name: str) -> bytes:
        """See `ArchiveStore`."""
        return await self._run(self._get, name)

    async def delete(self, name: str) -> None:
        """See `ArchiveStore`."""
        await self._run(self._delete, name)

    async def close(self) -> None:
        """Do nothing: no file stays open."""

    async def _run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        del kwargs
        try:
            return await trio.to_thread.run_sync(work, *args)
        except OSError as error:
            is_missing = error.errno == errno.ENOENT
            mend = _MOUNT if is_missing else mend_of(error)
            raise ReceiverError(reason_at(error, self._root), mend=mend) from error

    def _list(self, folder: str) -> Listing:
        path = self._folder(folder, is_made=False)
        folders, objects = [], []
        now = time.time()
        if path is None:
            return Listing([], [], now)
        with os.scandir(path) as entries:
            for entry in entries:
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if entry.name.startswith(".") and entry.name.endswith(DRAFT_SUFFIX):
                    continue
                if stat.S_ISDIR(found.st_mode):
                    folders.append(f"{entry.name}/")
                else:
                    is_file = stat.S_ISREG(found.st_mode)
                    objects.append(StoredObject(entry.name, found.st_mtime, is_file))
                if len(folders) + len(objects) > limits.archive_listed_max:
                    raise OSError(errno.EFBIG, "too many files in one folder", str(path))
        return Listing(sorted(folders), sorted(objects), now)

    def _put(self, name: str, data: bytes) -> None:
        folder, _, last = name.rpartition("/")
        path = self._folder(folder, is_made=True)
        if path is None:
            return
        if path not in self._cleaned:  # of what a killed process has left in a folder of ours
            self._cleaned.add(path)
            remove_drafts(path)
        try:
            create_file(path / last, data, _FILE_MODE)
        except FileExistsError:
            sync_folder(path)  # it may be ours, of an attempt that failed before it was durable
            raise ObjectExistsError(f"{path / last} exists") from None

    def _get(self, name: str) -> bytes:
        folder, _, last = name.rpartition("/")
        path = self._folder(folder, is_made=False)
        if path is None:
            raise ObjectMissingError("the file is gone")
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(path / last, flags)
        except FileNotFoundError:
            raise ObjectMissingError("the file is gone") from None
        except OSError as error:
            if error.errno in _UNREADABLE:
                raise UnreadableObjectError(reason_at(error), mend=mend_of(error)) from error
            raise
        with on_error(os.close, descriptor):
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UnreadableObjectError(f"{path / last}: this is no regular file")
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(limits.archive_object_bytes_max + 1)
        if len(data) > limits.archive_object_bytes_max:
            raise UnreadableObjectError(f"{path / last}: it is larger than an object of an archive")
        return data

    def _delete(self, name: str) -> None:
        folder, _, last = name.rpartition("/")
        path = self._folder(folder, is_made=False)
        if path is not None:
            remove_file(path / last)

    def _folder(self, folder: str, *, is_made: bool) -> Path | None:
        """Return the path of a folder, below which no link leads elsewhere; None without it."""
        path = self._root
        if not path.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        for part in filter(None, folder.split("/")):
            path /= part
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:
                if not is_made:
                    return None
                make_folder(path, _FOLDER_MODE)
                continue
            if not stat.S_ISDIR(mode):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        return path
