"""Checks what an object says about its rows, by which a query skips some without reading them.

Nothing signs the least and the greatest value of a column in its Parquet file. If one were wrong, a
query would miss rows that `audit verify` has found as they were signed.
"""

# ruff: noqa: S608 - statements are made of names of columns, which `_groups` compares with known ones

from collections.abc import Callable, Mapping
from typing import Any

from crewgate.errors import AuditReadError

Rows = Callable[[str, list[Any]], list[tuple[Any, ...]]]
_INDEXES = ("bloom_filter_offset", "column_index_offset")


def check_statistics(rows: Rows, read: str, path: str, kinds: Mapping[str, str]) -> None:
    """Raise AuditReadError if the statistics of a column do not hold for all of its rows.

    `rows` asks an engine that does not use statistics. `read` reads the file `path`, whose columns
    have these `kinds`, in this order.
    """
    groups = _groups(rows, path, kinds)
    begin = 0
    for number, (size, columns) in sorted(groups.items()):
        checks: list[str] = []
        values: list[Any] = [path, begin, begin + size]
        for name, (least, most, nulls) in columns.items():
            column = f'"{name}"'
            if nulls is not None:
                values.append(nulls)
                checks.append(f"count(*) - count({column}) <> ${len(values)}")
            for sign, bound in (("<", least), (">", most)):
                if bound is not None:
                    values.append(bound)
                    found = f"{column} {sign} ${len(values)}::{kinds[name]}"
                    checks.append(f"count(*) FILTER ({found}) > 0")
        statement = (
            f"SELECT count(*), {' OR '.join(checks) or 'false'} FROM "
            f"(SELECT * FROM {read.replace(')', ', file_row_number = true)')} "
            "WHERE file_row_number >= $2 AND file_row_number < $3)"
        )
        [(count, is_wrong)] = rows(statement, values)
        if count != size or is_wrong:
            raise AuditReadError(f"what the row group {number} says about its rows is not true")
        begin += size


def _groups(
    rows: Rows, path: str, kinds: Mapping[str, str]
) -> dict[int, tuple[int, dict[str, tuple[str | None, str | None, int | None]]]]:
    """Return the size of each row group, and the statistics of its columns that have no parts.

    A row group names its columns anew, and an engine takes their statistics by their order. So
    AuditReadError if the names are not those of `kinds`.
    """
    groups: dict[int, tuple[int, dict[str, tuple[str | None, str | None, int | None]]]] = {}
    known = [*kinds]
    names = [name for name, *_ in rows("DESCRIBE SELECT * FROM parquet_metadata($1)", [path])]
    for row in rows("SELECT * FROM parquet_metadata($1)", [path]):
        found = dict(zip(names, row, strict=True))
        column = found["path_in_schema"]
        name = known[found["column_id"]] if found["column_id"] < len(known) else ""
        is_list = kinds.get(name, "").endswith("[]")
        if column != name and not (is_list and column.startswith(f"{name}, ")):
            raise AuditReadError(f"a row group has another name for the column {name}")
        for index in _INDEXES:
            if found.get(index) is not None:
                raise AuditReadError(f"the column {column} has an index, which the export omits")
        _, columns = groups.setdefault(found["row_group_id"], (found["row_group_num_rows"], {}))
        if ", " in column or column == "raw":  # an element of a list, or bytes
            continue
        least = [found[key] for key in ("stats_min_value", "stats_min")]
        most = [found[key] for key in ("stats_max_value", "stats_max")]
        if len({each for each in least if each is not None}) > 1:
            raise AuditReadError(f"the column {column} has two least values")
        if len({each for each in most if each is not None}) > 1:
            raise AuditReadError(f"the column {column} has two greatest values")
        columns[column] = (least[0] or least[1], most[0] or most[1], found["stats_null_count"])
    return groups
