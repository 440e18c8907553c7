"""How far an archive has the audit of this machine."""

from typing import Annotated

import msgspec
from msgspec import Meta

from crewgate.audit.file_part import FilePart
from crewgate.audit.file_progress import AuditPosition, FilePosition, FileProgress


class ArchivePosition(AuditPosition):
    """Of one archive.

    Attributes:
        place: The archive, and the folder of the machine in it. Another one gets all anew.
        writer: Names the state folder of this machine: two machines must not write to one folder.
        pending: The part that is perhaps in the archive. It is stored again as it is, so that no
            other part has some of its lines.
        log_from: The first file of the checkpoints that the archive gets; empty before that.
        log: The bytes that the archive has of each file of the checkpoints.
        foreign: Objects that somebody else has put there under names of this machine, below its
            folder; some of them, if there are many.
    """

    place: str = ""
    writer: str = ""
    pending: FilePart | None = None
    log_from: str = ""
    log: dict[str, Annotated[int, Meta(ge=0)]] = msgspec.field(default_factory=dict)
    foreign: list[str] = msgspec.field(default_factory=list)


class ArchiveProgress(FileProgress[ArchivePosition]):
    """The files of the audit, and how much of each the archive has."""

    def left(self, name: str) -> int:
        """Return how many bytes of a file the archive lacks."""
        known = self.position.files.get(name)
        return 0 if known is None else max(0, known.size - known.offset)

    @property
    def names(self) -> list[str]:
        """The files that are there, the oldest first of those that were finished."""
        return [*self.finished, *self.current]

    def stored(self, part: FilePart) -> None:
        """Note that the archive has a part, which begins where the last one ended."""
        self._next[part.file] = part.end
        self.done(part.file, part.end)

    def _begin_again(self, name: str, known: FilePosition) -> None:
        """Keep the offset: the archive has what was there, and a verification finds the change."""
