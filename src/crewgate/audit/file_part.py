"""A part of an audit file: what one object of the archive holds."""

import re
from typing import NamedTuple

from crewgate.audit import folder as audit_folder

_NAME = re.compile(
    r"(?P<stem>[^/]+)\.(?P<begin>\d{12})-(?P<end>\d{12})(?:\.(?P<variant>[0-9a-f]{16}))?\.parquet",
    re.ASCII,
)


class FilePart(NamedTuple):
    """The bytes from `begin` to before `end` of the audit file `file`.

    `variant` is a random part of the object's name, if somebody else has put an object there under
    the name without it.
    """

    file: str
    begin: int
    end: int
    variant: str = ""

    @property
    def size(self) -> int:
        """The number of bytes."""
        return self.end - self.begin

    @property
    def day(self) -> str:
        """The day (UTC) on which the file began, such as `2026-12-01`."""
        digits = audit_folder.start_of(self.file)
        return f"{digits[:4]}-{digits[4:6]}-{digits[6:8]}"

    @property
    def object_name(self) -> str:
        """The name of its object, in the folder of its day. Names sort by their offsets."""
        stem = self.file.removesuffix(".jsonl")
        variant = f".{self.variant}" if self.variant else ""
        return f"{stem}.{self.begin:012d}-{self.end:012d}{variant}.parquet"


def read_object_name(name: str) -> FilePart | None:
    """Return the part that an object holds; None if the export writes no such name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    file, variant = f"{match['stem']}.jsonl", match["variant"] or ""
    part = FilePart(file, int(match["begin"]), int(match["end"]), variant)
    is_good = audit_folder.start_of(part.file) and part.size > 0
    return part if is_good else None
