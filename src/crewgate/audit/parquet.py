"""Writes a part of an audit file as Parquet with DuckDB, and reads it back byte for byte.

A row is a line: `file`, `file_offset` and `bytes` say where it stands, and `line` has its text. If
it is no printable text, as after a power loss, `raw` has its bytes. `bytes` counts the newline, if
there is one. The other columns are the members of the line, for queries; NULL if it has no such
member, or if that does not fit the type of the column. A line above a bound has several rows.
"""

# ruff: noqa: S608 - statements are made of constants and of quoted paths

import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import duckdb

from crewgate import limits
from crewgate.audit.duckdb_sql import COLUMNS, ENGINE, literal_path, literal_text
from crewgate.audit.file_part import FilePart
from crewgate.audit.parquet_statistics import check_statistics
from crewgate.errors import AuditReadError
from crewgate.runtime.cleanup import on_error
from crewgate.version import __version__

_PLACE: Final = {
    "file": "VARCHAR",
    "file_offset": "BIGINT",
    "bytes": "INTEGER",
    "line": "VARCHAR",
    "raw": "BLOB",
}
# `machine` is a part of the object's name; lines of a watch have `rung` in very old files only.
_MEMBERS: Final = {
    name: "TIMESTAMP WITH TIME ZONE" if kind == "TIMESTAMP" else kind
    for name, kind in COLUMNS.items()
    if name not in {"machine", "rung"}
}
# Otherwise the engine adds columns for parts of the path that have an equals sign.
_READ: Final = "read_parquet($1, hive_partitioning = false)"
_BATCH_BYTES: Final = 4 * limits.archive_piece_bytes_max

_Row = tuple[int, int, str | None, bytes | None]


def _shape() -> str:
    """Return the members as `json_transform` takes them."""
    shape: dict[str, object] = {
        name: [kind.removesuffix("[]")] if kind.endswith("[]") else kind
        for name, kind in _MEMBERS.items()
    }
    return literal_text(json.dumps(shape))


# Of a line that is no JSON object, all members are NULL.
_IS_RECORD = f"starts_with(line, '{{') AND length(line) <= {limits.archive_record_chars_max}"
_OBJECT = f"CASE WHEN {_IS_RECORD} THEN CASE WHEN json_valid(line) THEN line END END"
_PARSED = f"json_transform(coalesce({_OBJECT}, '{{}}'), {_shape()})"


def write(source: Path, part: FilePart, out: Path) -> int:
    """Write a part of the audit file `source` to the new file `out`; return the number of rows.

    Raises AuditReadError if the part is not there, or the engine fails; OSError.
    """
    count = 0
    with _Engine() as engine, open_regular(source) as file:
        engine.execute(
            "CREATE TABLE lines (file_offset BIGINT, bytes INTEGER, line VARCHAR, raw BLOB)"
        )
        for rows in _batches(file, part):
            count += len(rows)
            columns = [list(column) for column in zip(*rows, strict=True)]
            engine.execute(
                "INSERT INTO lines SELECT unnest($1::BIGINT[]), unnest($2::INTEGER[]), "
                "unnest($3::VARCHAR[]), unnest($4::BLOB[])",
                columns,
            )
        engine.execute(
            f"COPY (SELECT {literal_text(part.file)} AS file, *, unnest({_PARSED}) FROM lines) "
            f"TO {literal_text(str(out))} (FORMAT parquet, COMPRESSION zstd, "
            "USE_TMP_FILE false, WRITE_BLOOM_FILTER false, "
            f"ROW_GROUP_SIZE {limits.archive_row_group_rows}, "
            f"KV_METADATA {{crewgate: {literal_text(__version__)}}})"
        )
    return count


def open_regular(path: Path) -> BinaryIO:
    """Open an audit file, and never what a link names, or a pipe. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with on_error(os.close, descriptor):
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "this is no regular file", str(path))
        return os.fdopen(descriptor, "rb")


def lines(path: Path, part: FilePart, *, with_members: bool = False) -> Iterator[bytes]:
    """Yield the bytes of a part, in pieces, from its object in the file `path`.

    Raises AuditReadError if the file has not exactly the lines of the part; at the end, and only
    `with_members`, also if a column has not what the line says.
    """
    at = part.begin
    with _Engine(path, part) as engine:
        # By default, the engine takes what the file says about its rows for true.
        engine.execute("PRAGMA disable_optimizer")
        there = _check_columns(engine, path)
        _check_size(engine, path, part)
        statement = f"SELECT file_offset, bytes, line, raw FROM {_READ}"
        for rows in engine.batches(statement, [literal_path(str(path))]):
            piece = b"".join(map(_bytes, rows))
            for offset, size, *_ in rows:
                if offset != at:
                    raise AuditReadError(f"a row at byte {offset} stands where {at} is expected")
                at += size
            yield piece
        if at != part.end:
            raise AuditReadError(f"its rows end at byte {at}, not at {part.end}")
        if with_members:
            _check_members(engine, path, part, there)
            known = _PLACE | _MEMBERS
            kinds = {name: known[name] for name in there}
            check_statistics(engine.rows, _READ, literal_path(str(path)), kinds)


def _check_size(engine: "_Engine", path: Path, part: FilePart) -> None:
    """Raise AuditReadError for more rows or bytes than an object can have.

    A small object can hold one long text a million times. So the engine counts before anything
    reaches the memory of this process, or its disk.
    """
    statement = (
        "SELECT count(*), sum(coalesce(strlen(line), 0) + coalesce(octet_length(raw), 0)) "
        f"FROM {_READ}"
    )
    [(count, size)] = engine.rows(statement, [literal_path(str(path))])
    most = limits.archive_part_bytes_max
    if max(part.size, count, size or 0) > most:
        raise AuditReadError(
            f"it has {count} rows of {size or 0} bytes, and its name says {part.size} bytes; "
            f"the export writes at most {most} of each"
        )


def _check_members(engine: "_Engine", path: Path, part: FilePart, there: list[str]) -> None:
    columns = ", ".join(
        f'"{name}": ' + (f'"{name}"' if name in there else f"NULL::{kind}")
        for name, kind in _MEMBERS.items()
    )
    statement = (
        f"SELECT min(file_offset), count(*) FROM {_READ} "
        f"WHERE file IS DISTINCT FROM $2 OR {{{columns}}} IS DISTINCT FROM {_PARSED}"
    )
    [(first, count)] = engine.rows(statement, [literal_path(str(path)), part.file])
    if count:
        raise AuditReadError(
            f"in {count} rows, the first at byte {first}, the columns are not as line"
        )


def _check_columns(engine: "_Engine", path: Path) -> list[str]:
    """Return all columns in their order. Raises AuditReadError for any that does not belong."""
    found = engine.rows(f"DESCRIBE SELECT * FROM {_READ}", [literal_path(str(path))])
    kinds = {row[0]: row[1] for row in found}
    known = _PLACE | _MEMBERS
    for name in _PLACE:
        if name not in kinds:
            raise AuditReadError(f"it has no column {name}, so it is no object of the audit")
    for name, kind in kinds.items():
        if known.get(name) != kind:
            raise AuditReadError(
                f"the column {name} ({kind}) is none that this version of Crewgate writes"
            )
    return [*kinds]


class _Engine:
    """DuckDB with bounds, whose errors are AuditReadError.

    It writes, or reads the object of a part in the file `path`. An error names the object instead
    of the file, which is a temporary one.
    """

    def __init__(self, path: Path | None = None, part: FilePart | None = None) -> None:
        self._path, self._part = path, part
        # Without a folder for it, the engine writes nothing else to a disk.
        bounds = {"memory_limit": f"{limits.archive_engine_mib_max}MiB", "temp_directory": ""}
        settings = ENGINE | {"threads": "1"} | bounds
        self._engine = duckdb.connect(":memory:", config=dict(settings))
        self._engine.execute("SET TimeZone = 'UTC'")  # for a time that names no zone

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.close()

    def execute(self, statement: str, values: list[Any] | None = None) -> None:
        """Execute a statement without an answer."""
        for _ in self.batches(statement, values):
            pass

    def rows(self, statement: str, values: list[Any]) -> list[tuple[Any, ...]]:
        """Return the few rows of an answer."""
        return [row for rows in self.batches(statement, values) for row in rows]

    def batches(
        self, statement: str, values: list[Any] | None = None
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Yield the rows of an answer, some at a time."""
        try:
            found = self._engine.execute(statement, values)
            while rows := found.fetchmany(limits.archive_rows_at_once):
                yield rows
        except duckdb.Error as error:
            raise AuditReadError(self._text(error)) from error

    def _text(self, error: duckdb.Error) -> str:
        """Return the first line of an error; the others show statements of this program."""
        text = str(error).partition("\n")[0].strip()
        what = "the engine fails"
        if self._part is not None and not isinstance(error, duckdb.OutOfMemoryException):
            text = text.replace(str(self._path), self._part.object_name)
            what = "it is no readable Parquet file"
        return f"{what}: {text[: limits.archive_engine_error_chars_max]}"


def _batches(file: BinaryIO, part: FilePart) -> Iterator[list[_Row]]:
    """Yield the rows of a part in batches that have a bound."""
    file.seek(part.begin)
    at, size, rows = part.begin, 0, []
    while at < part.end:
        piece = file.readline(min(limits.archive_piece_bytes_max, part.end - at))
        if not piece:
            raise AuditReadError(f"{part.file} has {at} bytes; expected {part.end}")
        rows.append(_row(at, piece))
        at += len(piece)
        size += len(piece)
        if len(rows) == limits.archive_rows_at_once or size >= _BATCH_BYTES:
            yield rows
            size, rows = 0, []
    if rows:
        yield rows


def _row(at: int, piece: bytes) -> _Row:
    body = piece.removesuffix(b"\n")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return at, len(piece), None, body
    return (at, len(piece), text, None) if text.isprintable() else (at, len(piece), None, body)


def _bytes(row: _Row) -> bytes:
    offset, size, text, raw = row
    if (text is None) == (raw is None):
        raise AuditReadError(f"the row at byte {offset} has not one of line and raw")
    body = text.encode() if text is not None else raw or b""
    whole = body if size == len(body) else body + b"\n"
    if len(whole) != size:
        raise AuditReadError(f"the row at byte {offset} has not {size} bytes")
    return whole
