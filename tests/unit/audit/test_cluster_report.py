"""The audits of several machines as one: rows by time, sums added, and each row with its place."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from audit_records import CHILD, NOON, OTHER, ROOT, deny, grant, permit
from hypothesis import given
from hypothesis import strategies as st

from crewgate import limits
from crewgate.audit.cluster_report import ClusterAuditReport, merged
from crewgate.audit.filters import AuditFilter, GroupBy
from crewgate.audit.member_report import answer
from crewgate.audit.query_results import CallGroup, CallRow
from crewgate.audit.reports import AuditReport
from crewgate.core.audit.json_line import encode
from crewgate.core.audit.records import Record, RefusalsRecord
from crewgate.ipc.cluster_view import MachineAnswers, SilentMachine, collect
from crewgate.ipc.machine_messages import AuditMode, AuditQuestion, MachineAnswer

_CALL = CallRow(
    NOON, "gw-1", *["x"] * 6, [], *["x"] * 11, 1, None, None, 200, 1, 1, None, ""
)  # fmt: skip
_GROUP = CallGroup("", "", "", "", 1, 1, 0, 0, 0, 0, 1, 0, 0, None, NOON, NOON)
HERE: list[Record] = [
    permit(1, ROOT, "lead", "search.web", 10_000),
    permit(3, CHILD, "researcher", "search.web", 20_000),
]
THERE: list[Record] = [
    permit(2, CHILD, "researcher", "search.web", 5_000),
    deny(4, OTHER, "writer", "publish.post", "tool-not-allowed"),
]


def folder(place: Path, records: Sequence[Record]) -> Path:
    """An audit folder with these records."""
    place.mkdir()
    lines = b"".join(map(encode, records))
    (place / "worker-0-20261124T120000.000000Z.jsonl").write_bytes(lines)
    return place


def parts(
    place: Path, mode: AuditMode = "calls", by: str = "", **filters: Any
) -> list[AuditReport]:
    """What a machine with this folder answers, page by page."""
    question = AuditQuestion(mode, msgspec.json.encode(AuditFilter(**filters)), by)
    pages = answer(place, question, place)
    assert max(map(len, pages)) <= limits.member_page_bytes_max
    return [msgspec.msgpack.decode(page, type=AuditReport) for page in pages]


def together(
    own: Sequence[AuditReport],
    others: Mapping[str, Sequence[AuditReport]],
    limit: int = 50,
    by: GroupBy | None = None,
) -> ClusterAuditReport:
    answers = MachineAnswers(others, "gw-1", [SilentMachine("gw-3", "down")])
    first = merged({}, MachineAnswers({"x": own}, "", []), limit, by).report
    return merged({"gw-1": first}, answers, limit, by)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """The folders of two machines."""
    return folder(tmp_path / "here", HERE), folder(tmp_path / "there", THERE)


def test_rows_are_in_the_order_of_time_and_say_where(two: tuple[Path, Path]) -> None:
    """The newest of all; a row of another machine has this machine's name."""
    here, there = map(parts, two)
    found = together(here, {"gw-2": there})
    assert [row.machine for row in found.report.calls] == ["x", "gw-2", "x", "gw-2"]
    assert (found.machines, found.is_of_one) == (["gw-1", "gw-2"], False)
    assert [each.machine for each in found.not_asked] == ["gw-3"]
    newest = together(here, {"gw-2": there}, limit=3).report
    assert [row.branch for row in newest.calls] == [CHILD, CHILD, OTHER]
    assert newest.total is not None
    assert newest.health is not None
    assert (newest.total.calls, newest.total.denied, newest.total.cost_micro) == (4, 1, 35_000)
    assert newest.health.files == 2


def test_groups_of_one_key_are_one(two: tuple[Path, Path]) -> None:
    """The most expensive first; by day, in the order of days."""
    here, there = (parts(each, by="branch") for each in two)
    groups = together(here, {"gw-2": there}, by=GroupBy.BRANCH).report.groups
    assert [(each.key, each.calls, each.cost_micro) for each in groups] == [
        (CHILD, 2, 25_000),
        (ROOT, 1, 10_000),
        (OTHER, 1, 0),
    ]
    assert groups[0].role == "researcher"
    here, there = (parts(each, by="tool") for each in two)
    groups = together(here, {"gw-2": there}, by=GroupBy.TOOL).report.groups
    assert [(each.key, each.role, each.calls) for each in groups] == [
        ("search.web", "", 3),
        ("publish.post", "writer", 1),
    ]
    here, there = (parts(each, by="day") for each in two)
    (day,) = together(here, {"gw-2": there}, by=GroupBy.DAY).report.groups
    assert (day.calls, day.first, day.last) == (4, _at(1), _at(4))


def test_the_history_of_a_branch_is_that_of_all_machines(tmp_path: Path) -> None:
    """Its calls and those below it, its own grants, and what each minute has cost."""
    here = folder(tmp_path / "here", [grant(ROOT, "lead", 0), grant(CHILD, "researcher", 1), *HERE])
    late = permit(64, CHILD, "researcher", "search.web", 7)
    there = folder(tmp_path / "there", [grant(ROOT, "lead", 9), *THERE, late])
    found = [parts(each, "history", branch=ROOT, crew="article") for each in (here, there)]
    report = together(found[0], {"gw-2": found[1]}, by=GroupBy.MINUTE).report
    assert [row.time for row in report.calls] == [_at(1), _at(2), _at(3), _at(64)]
    assert [row.issued for row in report.grants] == [_at(0), _at(9)]
    assert report.grants[1].machine == "gw-2"
    assert [(each.key, each.cost_micro) for each in report.groups] == [
        ("2026-11-24T12:00Z", 35_000),
        ("2026-11-24T12:01Z", 7),
    ]
    assert (report.total, report.health, report.refusals) == (None, None, [])
    (only,) = parts(here, "grants", branch=CHILD)[1:]
    assert [row.branch for row in only.grants] == [CHILD]


def test_of_minutes_the_newest_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On each machine, and of all together."""
    many = [permit(60 * n, ROOT, "lead", "search.web", n) for n in range(9)]
    place = folder(tmp_path / "many", many)
    found = parts(place, by="minute", limit=4)
    assert [each.cost_micro for part in found for each in part.groups] == [5, 6, 7, 8]
    monkeypatch.setattr(limits, "audit_minutes_max", 3)
    report = together(found, {"gw-2": found}, by=GroupBy.MINUTE).report
    assert [each.cost_micro for each in report.groups] == [12, 14, 16]


def _at(number: int) -> datetime:
    return NOON + timedelta(seconds=number)


def test_refusals_of_one_network_are_counted_together(tmp_path: Path) -> None:
    """First and last are those of all."""

    def counted(number: int, at: int) -> Record:
        return RefusalsRecord(
            time=NOON, listener="agents", reason="invalid-token", peer="192.0.2.0/24",
            count=number, first=_at(at), last=_at(at),
        )  # fmt: skip

    here, there = (parts(folder(tmp_path / f"m{n}", [counted(n, n)])) for n in (3, 2))
    (row,) = together(here, {"gw-2": there}).report.refusals
    assert (row.count, row.first, row.last) == (5, _at(2), _at(3))


def test_a_call_is_explained_by_the_machine_that_has_it(two: tuple[Path, Path]) -> None:
    """The others know nothing of it."""
    request = parts(two[1])[1].calls[0].request
    here, there = (parts(each, "explain", request=request) for each in two)
    assert here[0].explanation is None
    found = together(here, {"gw-2": there}).report.explanation
    assert found is not None
    assert (found.call.machine, found.call.request) == ("gw-2", request)


def test_a_long_listing_is_cut_and_paged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest rows remain, and the sum still has all."""
    monkeypatch.setattr(limits, "member_audit_rows_max", 60)
    many = [permit(n, ROOT, "lead", "search.web", 1) for n in range(90)]
    found = parts(folder(tmp_path / "many", many), limit=1000)
    rows = [row for part in found for row in part.calls]
    assert [row.time for row in rows] == [_at(n) for n in range(30, 90)]
    assert found[0].total is not None
    assert (len(found), found[0].total.calls) == (4, 90)


@pytest.mark.parametrize("filters", [b"", b"{", b'{"branch":"x"}', b'{"limit":-1}', b"[]"])
def test_bad_filters_are_an_error(tmp_path: Path, filters: bytes) -> None:
    """A member may send what it likes; the process that reads ends with status 1."""
    with pytest.raises((ValueError, msgspec.DecodeError)):
        answer(tmp_path, AuditQuestion("calls", filters), tmp_path)
    with pytest.raises(ValueError, match="wrong"):
        answer(tmp_path, AuditQuestion("calls", b"{}", by="wrong"), tmp_path)


_VALUES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text()
    | st.datetimes(timezones=st.none() | st.just(UTC))
)  # fmt: skip


@given(
    st.sampled_from(["calls", "connections", "watch", "groups", "refusals"]),
    st.dictionaries(st.sampled_from(CallRow.__struct_fields__), _VALUES),
    st.text(),
)
def test_no_row_of_another_machine_ends_a_command(
    name: str, changed: dict[str, Any], key: str
) -> None:
    """A row with some other values is merged, or its machine is named."""
    call = msgspec.to_builtins(_CALL) | changed
    group = msgspec.to_builtins(_GROUP) | {"key": key, "first": call["time"]}
    body = msgspec.msgpack.encode({name: [call | group], "total": group})
    messages = [MachineAnswer(1, "page", "gw-2", body), MachineAnswer(1, "end", "gw-1")]
    found = collect(messages, AuditReport)
    whole = merged({"gw-1": AuditReport(total=_GROUP, calls=[_CALL])}, found, 9, GroupBy.BRANCH)
    assert whole.report.total is not None
    assert whole.report.calls
    assert ("gw-2" in whole.machines) is not bool(whole.not_asked)


def test_a_time_without_a_zone_ends_no_command() -> None:
    """The machine that sent it counts as one that cannot be read."""
    group = CallGroup("", "", "", "", 0, 0, 0, 0, 0, 0, 0, 0, 0, None, None, None)
    members = msgspec.to_builtins(group) | {"first": "2026-11-24T12:00:00"}
    body = msgspec.msgpack.encode({"total": members})
    messages = [MachineAnswer(1, "page", "gw-2", body), MachineAnswer(1, "end", "gw-1")]
    found = collect(messages, AuditReport)
    assert [each.machine for each in found.not_asked] == ["gw-2"]
