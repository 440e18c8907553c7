"""What the export process orders of `parquet_process`; it needs no engine for that."""

import msgspec

from crewgate.audit.file_part import FilePart


class ParquetOrder(msgspec.Struct, frozen=True):
    """Write a part of an audit file in `folder` to the file `out`.

    `is_there`: somebody has written `out`; only say whether it is the object of this part.
    """

    folder: str
    part: FilePart
    out: str
    is_there: bool = False


class ParquetResult(msgspec.Struct, frozen=True):
    """The number of rows of an object, or why there is none.

    `is_unread`: the audit file cannot be read, so nothing is said about an object that is there.
    """

    rows: int = 0
    why: str = ""
    is_unread: bool = False
