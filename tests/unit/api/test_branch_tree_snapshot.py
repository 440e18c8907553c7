"""One moment's branch tree, and the views that callers have of it."""

import json

from api_world import BD_RUN, BOTH, rows

from crewgate.api.branch_tree_snapshot import BranchTreeSnapshot
from crewgate.api.schemas import BranchesResponse, CallTotal


def test_a_view_has_the_rows_of_one_crew_in_their_order() -> None:
    """Parents stay before their children."""
    snapshot = BranchTreeSnapshot(rows())
    assert list(snapshot.of("bd")) == [row for row in rows() if row.crew == "bd"]
    assert list(snapshot.of("")) == rows()
    assert list(snapshot.of("nobody")) == []


def test_a_branch_is_found_by_its_crew() -> None:
    """The same id in two crews is two branches."""
    snapshot = BranchTreeSnapshot(rows())
    assert [row.crew for row in snapshot.find(BOTH, "")] == ["bd", "finance"]
    assert [row.crew for row in snapshot.find(BOTH, "finance")] == ["finance"]
    assert snapshot.find(BD_RUN, "finance") == []


def test_a_view_is_encoded_once() -> None:
    """The bytes that a second reader gets are the first one's; unknown names leave nothing."""
    snapshot = BranchTreeSnapshot(rows())
    assert snapshot.encoded("bd") is snapshot.encoded("bd")
    assert {row["crew"] for row in json.loads(snapshot.encoded("bd"))["branches"]} == {"bd"}
    snapshot.encoded("nobody")
    assert set(snapshot._encoded) == {"bd"}
    assert set(snapshot._views) == {"", "bd"}


def test_a_crew_sees_its_own_totals_of_calls() -> None:
    """An operator sees all; a page of some branches has none."""
    totals = [CallTotal(machine="gw-1", crew=crew, tool="t", calls=1) for crew in ("bd", "finance")]
    snapshot = BranchTreeSnapshot(rows(), BranchesResponse(branches=[], totals=totals))

    def seen(crew: str) -> list[str]:
        return [each["crew"] for each in json.loads(snapshot.encoded(crew))["totals"]]

    assert (seen("bd"), seen("finance")) == (["bd"], ["finance"])
    assert seen("") == ["bd", "finance"]
    assert seen("nobody") == []
    assert snapshot.page(rows()).totals == []
