"""The query of the page about the archive runs as it stands there."""

import re
from pathlib import Path

import duckdb
from audit_archive import audit_line

from crewgate.audit import parquet
from crewgate.audit.file_part import FilePart

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "archive-the-audit.md"


def test_the_query_sums_the_calls_of_a_day(tmp_path: Path) -> None:
    query = re.search(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert query is not None
    for number, day in enumerate(("2026-11-20", "2026-12-01")):
        part = FilePart(f"worker-{number}-{day.replace('-', '')}T080000.000000Z.jsonl", 0, 0)
        data = audit_line(500_000) + audit_line(250_000) + b"torn\n"
        source = tmp_path / part.file
        source.write_bytes(data)
        part = part._replace(end=len(data))
        folder = tmp_path / "srv" / "machine=gw-1" / f"day={part.day}"
        folder.mkdir(parents=True)
        parquet.write(source, part, folder / part.object_name)
    statement = query[1].replace("/srv/audit-archive", str(tmp_path / "srv"))
    assert duckdb.execute(statement).fetchall() == [("article", "search.web", 2, 0.75)]
