"""What the export process orders of `parquet_process`; it needs no engine for that."""

import msgspec

from crewgate.audit.file_part import FilePart


class ParquetOrder(msgspec.Struct, frozen=True):
    """Write a part of an audit file in `folder` to the file `out`."""

    folder: str
    part: FilePart
    out: str


class ParquetResult(msgspec.Struct, frozen=True):
    """The number of rows of an object, or why there is none."""

    rows: int = 0
    why: str = ""
