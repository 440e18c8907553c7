"""What the archive needs of the place where its objects are."""

from typing import Protocol

from crewgate.config import ExportConfig
from crewgate.export.archive.bucket_store import BucketStore
from crewgate.export.archive.folder_store import FolderStore
from crewgate.export.archive.listing import Listing


class ArchiveStore(Protocol):
    """A folder or a bucket. Names are relative to it; that of a folder ends with a slash."""

    async def list(self, folder: str) -> Listing:
        """Return what is in a folder, which need not exist. Raises ReceiverError."""

    async def put(self, name: str, data: bytes) -> None:
        """Store an object whole, or not at all. Return once it is durable.

        A bucket of a service that does not know conditional requests replaces an object that has
        this name.

        Raises:
            ObjectExistsError: There is an object with this name, which stays as it is.
            ReceiverError: The store does not take the object, or it has not answered.
        """

    async def get(self, name: str) -> bytes:
        """Return an object.

        Raises:
            ObjectMissingError: There is none.
            ObjectRefusedError: This machine may not read it.
            UnreadableObjectError: Nobody can read it, or it is none of an archive.
            ReceiverError: The store does not answer.
        """

    async def delete(self, name: str) -> None:
        """Delete an object, if it is there. Raises ReceiverError."""

    async def close(self) -> None:
        """Close the connections."""


def store_of(receiver: ExportConfig) -> ArchiveStore:
    """Return the place of a receiver, which has a folder or a bucket."""
    if receiver.folder is not None:
        return FolderStore(receiver.folder)
    return BucketStore(receiver)
