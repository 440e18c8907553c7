"""The calls of a dead worker that have a record."""

import os
from pathlib import Path

from crewgate import limits
from crewgate.audit.last_calls import recorded_costs

START = "20260101T000000.000000Z"


def line(request: str, cost: int, kind: str = "call") -> bytes:
    return b'{"machine":"a","kind":"%b","request":"%b","cost_micro":%d}\n' % (
        kind.encode(),
        request.encode(),
        cost,
    )


def test_only_calls_of_workers_that_were_asked_for(tmp_path: Path) -> None:
    worker = tmp_path / f"worker-0-{START}.jsonl"
    worker.write_bytes(
        line("a", 3) + line("b", 5) + b'{"kind":"open","request":"c","price_micro":1}\n'
        b'{"kind":"call","request":"d","cost_micro":null}\nno record\n' + line("e", 7)[:-9]
    )
    (tmp_path / f"agent-{START}.jsonl").write_bytes(line("a", 9, "burned") + line("f", 9))
    (tmp_path / "notes.txt").write_bytes(line("f", 9))
    assert recorded_costs(tmp_path, {"a", "c", "d", "e", "f"}, 0) == {"a": 3}
    assert recorded_costs(tmp_path / "missing", {"a"}, 0) == {}


def test_only_the_end_of_files_that_were_written_since(tmp_path: Path) -> None:
    long, old = (tmp_path / f"worker-{number}-{START}.jsonl" for number in (0, 1))
    filling = line("x" * 1000, 1) * (limits.audit_last_bytes // 1040)
    long.write_bytes(line("first", 1) * 50 + filling + line("last", 2))
    old.write_bytes(line("last", 8))
    os.utime(old, ns=(10**18, 10**18))
    assert recorded_costs(tmp_path, {"first", "last"}, 10**18 + 1) == {"last": 2}
    assert recorded_costs(tmp_path, {"last"}, 10**18)["last"] == 8
