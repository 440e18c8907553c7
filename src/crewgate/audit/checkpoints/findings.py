"""What a verification may find, and what it knows from elsewhere."""

import enum
from datetime import datetime

import msgspec


class FindingKind(enum.StrEnum):
    """What differs from the checkpoints.

    - `CHANGED`: bytes of a file are not those that were signed.
    - `CUT`: a file lacks bytes at its end.
    - `GROWN`: bytes follow in a file that its process had left.
    - `INSERTED`: a file was not there at checkpoints that were made after its beginning.
    - `REMOVED`: a file is not there, and retention did not delete it.
    - `LOG`: the checkpoints themselves are not one chain that the machine's key has signed.
    """

    CHANGED = "changed"
    CUT = "cut"
    GROWN = "grown"
    INSERTED = "inserted"
    REMOVED = "removed"
    LOG = "log"


class Finding(msgspec.Struct, frozen=True, omit_defaults=True):
    """One difference. `begin` and `end` are bytes of the file, between which it lies.

    The lines there were signed after `since` and until `until`, as far as the log knows.
    """

    kind: FindingKind
    file: str
    why: str
    begin: int | None = None
    end: int | None = None
    since: datetime | None = None
    until: datetime | None = None


class HeldCheckpoint(msgspec.Struct, frozen=True):
    """A checkpoint that the log must have, since `holder` knows it, perhaps `since` a time.

    A log that begins later need not have it.
    """

    holder: str
    number: int
    digest: str
    since: datetime | None = None
