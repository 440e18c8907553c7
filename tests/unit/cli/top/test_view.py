"""Order, filter, folding and the selected row, which no reading moves to another branch."""

from live_trees import FAMILY, LEAD, LOOP, OTHER, RUN, answer, changed, node, reading

from crewgate.cli.top.reading import Readings
from crewgate.cli.top.view import Order, Table, TreeLine, View
from crewgate.ipc.admin_messages import TreeRow
from crewgate.ipc.answer_parts import CallTotalRow


def shown(view: View) -> list[str]:
    return [line.node.branch for line in view.lines]


def view_of(rows: tuple[TreeRow, ...] = FAMILY, **choices: Order) -> View:
    view = View(**choices)
    view.take(reading(rows))
    return view


def test_siblings_are_sorted_and_stay_below_their_parent() -> None:
    """By what was chosen; then by name."""
    view = view_of()
    assert shown(view) == ["", RUN, LEAD, OTHER, LOOP]
    view.turn_order()
    view.turn_order()
    assert (view.order, shown(view)) == (Order.SPENT, ["", RUN, LEAD, LOOP, OTHER])
    guides = [line.guides for line in view.lines if isinstance(line, TreeLine)]
    assert guides == [(), (False,), (False, False), (False, False, True), (False, False, False)]


def test_the_fastest_comes_first() -> None:
    """Credits each minute, and calls each minute."""
    readings, view = Readings(), View()
    readings.take(answer(), 0)
    fast = changed(researcher={"spent": 20_000_500}, checker={"calls": 9})
    view.take(readings.take(answer(fast), 1))
    assert shown(view)[-2:] == [LOOP, OTHER]
    view.turn_order()
    assert shown(view)[-2:] == [OTHER, LOOP]


def test_the_selected_branch_stays_selected_where_it_goes() -> None:
    """A key acts on the branch that a person has chosen, not on the line where it stood."""
    readings, view = Readings(), View()
    view.take(readings.take(answer(), 0))
    view.move_to(3)
    assert view.selected == node(OTHER)
    view.take(readings.take(answer(changed(researcher={"spent": 30_000_000})), 1))
    assert (view.selected, view.position) == (node(OTHER), 4)


def test_the_nearest_is_selected_if_the_selected_one_has_gone() -> None:
    """And none, if none is there."""
    view = view_of()
    assert view.selected == node()
    view.move_to(99)
    assert view.selected == node(LOOP)
    view.take(reading(FAMILY[:3]))
    assert view.selected == node(LEAD)
    view.take(reading(()))
    assert (view.selected, view.selected_line) == (None, None)


def test_a_filter_shows_matches_and_those_above() -> None:
    """Roles, ids, machines, orchestrators, states; the case does not count."""
    view = view_of()
    view.filter_by("RESEARCH")
    assert shown(view) == ["", RUN, LEAD, LOOP]
    view.filter_by(OTHER[:8])
    assert shown(view) == ["", RUN, LEAD, OTHER]
    view.filter_by("gw-1")
    assert len(view.lines) == len(FAMILY)
    view.filter_by("nothing")
    assert shown(view) == []


def test_what_had_ended_before_is_hidden_and_what_ends_now_stays() -> None:
    """With `a`, all are shown."""
    view = view_of(changed(checker={"state": "expired"}))
    assert shown(view) == ["", RUN, LEAD, LOOP]
    view.take(reading(changed(checker={"state": "expired"}, researcher={"state": "revoked"})))
    assert shown(view) == ["", RUN, LEAD, LOOP]
    view.turn_ended()
    assert shown(view) == ["", RUN, LEAD, OTHER, LOOP]


def test_folding_hides_what_is_below() -> None:
    """Left folds, or goes to the parent; right unfolds."""
    view = view_of()
    view.move_to(2)
    view.fold(unfold=False)
    assert shown(view) == ["", RUN, LEAD]
    line = view.selected_line
    assert isinstance(line, TreeLine)
    assert line.folded == 2
    view.fold(unfold=False)
    assert view.selected == node(RUN)
    view.move_to(2)
    view.fold(unfold=True)
    assert len(view.lines) == 5
    view.move_to(4)
    view.fold(unfold=False)
    assert view.selected == node(LEAD)


def test_a_folded_row_counts_what_it_hides() -> None:
    """Not what the filter hides, or what had ended before."""
    view = view_of()
    view.filter_by("researcher")
    view.move_to(0)
    view.fold(unfold=False)
    [line] = view.lines
    assert isinstance(line, TreeLine)
    assert line.folded == 3


def test_tables_of_tools_and_crews() -> None:
    """They have their own order and selection, and no branches to fold."""
    totals = [CallTotalRow("bd", "crm.read", 1), CallTotalRow("article", "search.web", 2, 0, 9)]
    view = View(Order.SPENT)
    view.take(Readings().take(answer(totals=totals), 0))
    view.turn_table()
    assert (view.table, shown(view)) == (Table.TOOLS, ["search.web", "crm.read"])
    view.fold(unfold=False)
    view.turn_table()
    assert [line.node.crew for line in view.lines] == ["article", "bd"]
    view.turn_table()
    assert view.table is Table.BRANCHES


def test_the_screen_follows_the_selection() -> None:
    """It scrolls as little as it must."""
    view = view_of()
    assert [line.node for line in view.on_screen(2)] == [node(), node(RUN)]
    view.move_to(3)
    assert [line.node for line in view.on_screen(2)] == [node(LEAD), node(OTHER)]
    view.move_to(2)
    assert [line.node for line in view.on_screen(2)] == [node(LEAD), node(OTHER)]
    assert len(view.on_screen(0)) == 0
    assert len(view.on_screen(50)) == 5
