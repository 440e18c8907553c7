"""A part of an audit file is in Parquet byte for byte, and its members are columns."""

import random
import struct
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import duckdb
import msgspec
import pytest
from audit_archive import audit_line

from crewgate import limits
from crewgate.audit import parquet
from crewgate.audit.duckdb_sql import COLUMNS
from crewgate.audit.file_part import FilePart, read_object_name
from crewgate.audit.parquet_order import ParquetOrder, ParquetResult
from crewgate.core.audit.records import Record
from crewgate.errors import AuditReadError

FILE = "worker-0-20261201T080000.000000Z.jsonl"
PIECES = [
    b"\n", b"\r\n", b"\xff\xfe\n", b"\0\n", b"x" * 700 + b"\n", b"[1]\n", b'"text"\n', b"null\n",
    "ä\u2028€\U0001f600\n".encode(), b'{"crew":"\\u0000","role":"\\ud800"}\n',
    b'{"cost_micro":99999999999999999999,"tools":["a",2],"time":"never","ancestry":5}\n',
    b'{"crew":"a","crew":"b"}\n', b'{"crew":{"a":[1]}}\n', b'{"time":"2026-12-01T08:00:00"}\n',
    b"[" * 300 + b"\n", b"'; DROP TABLE lines; --\n", audit_line(5), audit_line(7, role="r" * 900),
]  # fmt: skip


def written(folder: Path, data: bytes, part: FilePart | None = None) -> Path:
    """Write a file, and a part of it as Parquet, whose path is returned."""
    (folder / FILE).write_bytes(data)
    out = folder / "out.parquet"
    out.unlink(missing_ok=True)
    parquet.write(folder / FILE, part or FilePart(FILE, 0, len(data)), out)
    return out


def read(path: Path, part: FilePart) -> bytes:
    return b"".join(parquet.lines(path, part, with_members=True))


def test_each_part_comes_back_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random lines and damage, cut at random places, also within a line or a character."""
    monkeypatch.setattr(limits, "archive_piece_bytes_max", 256)
    monkeypatch.setattr(limits, "archive_rows_at_once", 7)
    monkeypatch.setattr(parquet, "_BATCH_BYTES", 1000)
    chosen = random.Random(1)
    for _ in range(30):
        data = b"".join(chosen.choices(PIECES, k=chosen.randrange(1, 30)))
        data = data[: chosen.randrange(1, len(data) + 1)]
        begin = chosen.randrange(len(data))
        part = FilePart(FILE, begin, chosen.randrange(begin, len(data)) + 1)
        path = written(tmp_path, data, part)
        assert read(path, part) == data[part.begin : part.end]


def test_the_members_of_a_line_are_columns(tmp_path: Path) -> None:
    """What does not fit the type of its column is NULL, and the line has it."""
    data = audit_line(5) + b'{"kind":"call","cost_micro":"many","crew":7}\n' + b"torn\n\xff\n"
    path = written(tmp_path, data)
    rows = duckdb.execute(
        "SELECT file_offset, bytes, kind, time AT TIME ZONE 'UTC', crew, cost_micro, line, raw "
        f"FROM read_parquet('{path}')"
    ).fetchall()
    first = audit_line(5)
    time = datetime(2026, 12, 1, 8, 0, 5, 1, tzinfo=UTC).replace(tzinfo=None)
    second = '{"kind":"call","cost_micro":"many","crew":7}'
    assert rows == [
        (0, len(first), "call", time, "article", 5, first[:-1].decode(), None),
        (len(first), len(second) + 1, "call", None, "7", None, second, None),
        (len(data) - 7, 5, None, None, None, None, "torn", None),
        (len(data) - 2, 2, None, None, None, None, None, b"\xff"),
    ]


def test_each_field_of_a_record_has_a_column(tmp_path: Path) -> None:
    """Except the machine, which is a part of the object's name."""
    path = written(tmp_path, audit_line(1))
    found = duckdb.execute(f"DESCRIBE SELECT * FROM read_parquet('{path}')").fetchall()
    columns = {name: kind for name, kind, *_ in found}
    fields = {each.name for kind in get_args(Record) for each in msgspec.structs.fields(kind)}
    assert columns.keys() == (fields - {"machine"}) | {
        "kind", "file", "file_offset", "bytes", "line", "raw",
    }  # fmt: skip
    assert columns["time"] == "TIMESTAMP WITH TIME ZONE"
    assert columns["tools"] == "VARCHAR[]"
    assert COLUMNS["machine"] == "VARCHAR"


def changed(path: Path, select: str, options: str = ", WRITE_BLOOM_FILTER false") -> None:
    """Write an object anew with other rows; `rows` are those that it has."""
    other = path.with_suffix(".other")
    duckdb.execute(
        f"COPY (WITH rows AS (FROM read_parquet('{path}')) {select}) "
        f"TO '{other}' (FORMAT parquet{options})"
    )
    other.replace(path)


@pytest.mark.parametrize(
    ("select", "why"),
    [
        ("SELECT * REPLACE (cost_micro + 1 AS cost_micro) FROM rows", "are not as line"),
        ("SELECT * REPLACE (NULL::VARCHAR AS crew) FROM rows", "in 3 rows, the first at byte 0"),
        ("SELECT * REPLACE (time + INTERVAL 1 DAY AS time) FROM rows", "the first at byte 0"),
        ("SELECT * REPLACE (['a'] AS tools) FROM rows WHERE true", "are not as line"),
        ("SELECT * REPLACE ('x' AS file) FROM rows", "are not as line"),
        ("SELECT * EXCLUDE (tool) FROM rows", "are not as line"),
        ("SELECT * EXCLUDE (line) FROM rows", "it has no column line"),
        ("SELECT *, 'gw-2' AS machine FROM rows", "the column machine (VARCHAR) is none"),
        ("SELECT * REPLACE (cost_micro::VARCHAR AS cost_micro) FROM rows", "is none that this"),
        ("FROM rows LIMIT 2", "its rows end at byte"),
        ("FROM rows ORDER BY file_offset DESC", "stands where 0 is expected"),
        ("FROM rows UNION ALL FROM rows", "stands where"),
        ("SELECT * REPLACE (bytes + 1 AS bytes) FROM rows", "has not"),
        ("SELECT * REPLACE (line::BLOB AS raw) FROM rows", "has not one of line and raw"),
        ("SELECT * REPLACE (NULL::VARCHAR AS line) FROM rows", "has not one of line and raw"),
        ("SELECT * REPLACE (NULL::BIGINT AS file_offset) FROM rows", "stands where"),
        ("SELECT * REPLACE (NULL::INTEGER AS bytes) FROM rows", "has not"),
    ],
)
def test_an_object_with_other_rows_is_found(tmp_path: Path, select: str, why: str) -> None:
    data = b"".join(map(audit_line, range(1, 4)))
    path, part = written(tmp_path, data), FilePart(FILE, 0, len(data))
    assert read(path, part) == data
    changed(path, select)
    with pytest.raises(AuditReadError) as found:
        read(path, part)
    assert why in str(found.value)


def forge(path: Path, old: int, new: int) -> None:
    """Replace a value in what a file says about its rows, and leave the rows."""
    data = path.read_bytes()
    begin = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    was, now = (struct.pack("<q", each) for each in (old, new))
    assert was in data[begin:]
    path.write_bytes(data[:begin] + data[begin:].replace(was, now))


@pytest.mark.parametrize("number", [5, 20_000])
def test_statistics_that_are_not_true_are_found(tmp_path: Path, number: int) -> None:
    """By them, a query skips rows that are as they were signed."""
    costs = [1_000_000_000_001, *range(1_000_000_000_100, 1_000_000_000_100 + number)]
    data = b"".join(b'{"kind":"call","cost_micro":%d}\n' % each for each in costs)
    path, part = written(tmp_path, data), FilePart(FILE, 0, len(data))
    assert read(path, part) == data
    forge(path, costs[0], costs[1])
    query = f"SELECT count(*) FROM read_parquet('{path}') WHERE cost_micro = {costs[0]}"
    assert duckdb.execute(query).fetchall() == [(0,)]
    assert b"".join(parquet.lines(path, part)) == data
    with pytest.raises(AuditReadError, match="what the row group 0 says about its rows is not"):
        read(path, part)


@pytest.mark.parametrize(
    ("select", "end"),
    [
        ("SELECT rows.* REPLACE (repeat('x', 1000) AS line) FROM rows, range(1000)", 1000),
        ("SELECT rows.* REPLACE ('' AS line, 0 AS bytes) FROM rows, range(200_000)", 1000),
        ("FROM rows", 999_999_999_999),
    ],
    ids=["bytes", "rows", "name"],
)
def test_an_object_that_unpacks_to_too_much_is_not_unpacked(
    tmp_path: Path, select: str, end: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small object with one text again and again fills neither the memory nor the disk."""
    monkeypatch.setattr(limits, "archive_part_bytes_max", 100_000)
    path = written(tmp_path, audit_line(1))
    changed(path, select)
    with pytest.raises(AuditReadError, match="writes at most 100000 of each"):
        next(parquet.lines(path, FilePart(FILE, 0, end)))


def test_an_index_is_found(tmp_path: Path) -> None:
    """By one that is not true, a query skips rows, and the export writes none."""
    data = audit_line(1) * 100
    path, part = written(tmp_path, data), FilePart(FILE, 0, len(data))
    assert read(path, part) == data
    changed(path, "FROM rows", "")
    with pytest.raises(AuditReadError, match="has an index, which the export omits"):
        read(path, part)


def test_a_line_that_is_too_long_for_a_record_has_no_members(tmp_path: Path) -> None:
    """The engine could not hold what damage may look like."""
    data = b'{"kind":"call","tools":[' + b'"a",' * 100_000 + b'"b"]}\n' + b"[" * 2**20 + b"\n"
    path = written(tmp_path, data * 4)
    assert read(path, FilePart(FILE, 0, 4 * len(data))) == data * 4
    found = duckdb.execute(f"SELECT count(*), count(kind) FROM read_parquet('{path}')")
    assert found.fetchall() == [(12, 0)]


def test_a_link_in_the_place_of_a_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(audit_line(1))
    (tmp_path / FILE).symlink_to(tmp_path / "secret")
    part = FilePart(FILE, 0, len(audit_line(1)))
    with pytest.raises(OSError, match="symbolic link"):
        parquet.write(tmp_path / FILE, part, tmp_path / "out")


def test_an_earlier_version_may_lack_a_column_that_no_line_needs(tmp_path: Path) -> None:
    data = audit_line(1)
    path = written(tmp_path, data)
    changed(path, "SELECT * EXCLUDE (call_digest) FROM rows")
    assert read(path, FilePart(FILE, 0, len(data))) == data


def test_what_is_no_parquet_file_is_an_error(tmp_path: Path) -> None:
    """The error names the object, and shows nothing that only this program knows."""
    path = tmp_path / "x*[a]=b.parquet"
    path.write_bytes(b"PAR1 is not enough")
    part = FilePart(FILE, 0, 10)
    with pytest.raises(AuditReadError) as found:
        read(path, part)
    text = str(found.value)
    assert text.startswith("it is no readable Parquet file: ")
    assert part.object_name in text
    assert str(tmp_path) not in text
    assert "LINE 1" not in text


def test_an_error_of_the_engine_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have a whole line that is damaged."""
    data = audit_line(1)
    path = written(tmp_path, data)
    monkeypatch.setattr(parquet, "_PARSED", f"error('{'x' * 1000}')")
    with pytest.raises(AuditReadError) as found:
        read(path, FilePart(FILE, 0, len(data)))
    text = str(found.value).removeprefix("it is no readable Parquet file: ")
    assert len(text) == limits.archive_engine_error_chars_max
    with pytest.raises(AuditReadError, match=r"^the engine fails: .{1,200}$"):
        written(tmp_path, data)


@pytest.mark.parametrize("name", [b"kind", b'w" <', b"ab,c", b"rule"])
def test_a_row_group_cannot_name_its_columns_otherwise(tmp_path: Path, name: bytes) -> None:
    """Else the statistics of one column would be compared with another one, or with none."""
    data = audit_line(1)
    path = written(tmp_path, data)
    whole = path.read_bytes()
    group = whole.rindex(b"\x04crew") + 1  # the schema of the file is before it
    path.write_bytes(whole[:group] + name + whole[group + 4 :])
    with pytest.raises(AuditReadError, match="a row group has another name for the column crew"):
        read(path, FilePart(FILE, 0, len(data)))


def test_a_part_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AuditReadError, match=f"{FILE} has 3 bytes; expected 5"):
        written(tmp_path, b"ab\n", FilePart(FILE, 0, 5))


@pytest.mark.parametrize("folder", ["a=b", "it's", "x*y"])
def test_the_path_may_have_any_character(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    data = audit_line(1)
    path = written(tmp_path / folder, data)
    assert read(path, FilePart(FILE, 0, len(data))) == data


def test_the_name_of_an_object_says_what_is_in_it() -> None:
    part = FilePart("worker-0-20261201T080000.000000Z-1.jsonl", 7, 12_000)
    assert part.day == "2026-12-01"
    name = "worker-0-20261201T080000.000000Z-1.000000000007-000000012000.parquet"
    assert (part.object_name, read_object_name(name)) == (name, part)
    for other in (
        "x.parquet",
        name.replace("000000000007", "7"),
        name.replace("000000012000", "000000000007"),
        name.replace("worker-0-", "../../"),
        name + ".draft",
    ):
        assert read_object_name(other) is None


def test_the_process_writes_one_object_after_another_or_says_why_not(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(audit_line(1) + audit_line(2))
    size = len(audit_line(1)) * 2
    orders = [
        ParquetOrder(str(tmp_path), FilePart(FILE, 0, end), str(tmp_path / "out"))
        for end in (size, size + 1, size)
    ]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "crewgate.audit.parquet_process"],
        input=b"".join(msgspec.json.encode(order) + b"\n" for order in orders),
        capture_output=True,
        check=True,
    )
    results = [msgspec.json.decode(line, type=ParquetResult) for line in done.stdout.splitlines()]
    why = f"{FILE} has {size} bytes; expected {size + 1}"
    assert results == [ParquetResult(2), ParquetResult(why=why), ParquetResult(2)]
    assert done.stderr == b""
