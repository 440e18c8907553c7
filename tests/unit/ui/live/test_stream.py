"""What browsers make of the events is the tree that they may see, however slowly they read."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from live_page import LOCAL, Machines, Watching, live_feed, status_of, viewer
from machine_trees import tree_answers

from crewgate import limits
from crewgate.core.health import HealthCondition, HealthState
from crewgate.core.rules.rule import RuleMode, RuleStep
from crewgate.errors import ControlError
from crewgate.ipc.admin_messages import MintingWatchRow, TreeRow
from crewgate.ipc.cluster_view import SilentMachine, tree_of
from crewgate.ui.endpoint import PageRequest
from crewgate.ui.live.feed import LiveFeed
from crewgate.ui.live.live_tree_row import LiveTreeRow, live_tree_row
from crewgate.ui.live.reader import LiveReader
from crewgate.ui.live.stream import live
from crewgate.ui.person_limit import PersonLimiter

PLENTY = 10_000  # events
CREWS = ("article", "bd", "article:bd")
DEFAULTS = msgspec.structs.asdict(LiveTreeRow(0, "", ""))
Step = tuple[str, Any]


@st.composite
def trees(draw: st.DrawFn) -> dict[str, list[TreeRow]]:
    def rows() -> list[TreeRow]:
        names = draw(
            st.lists(st.tuples(st.sampled_from(CREWS), st.sampled_from(["", *"abc"])), unique=True)
        )
        amounts = st.integers(0, 2)
        return [
            TreeRow(
                crew, branch, draw(st.sampled_from(["live", "revoked"])), spent=draw(amounts),
                left=draw(amounts), parent="a" if branch == "b" else "", quota=draw(amounts),
                rule="r", rule_step=draw(st.sampled_from([None, RuleStep.WARN])),
                rule_mode=RuleMode.ENFORCE,
            )
            for crew, branch in names
        ]  # fmt: skip

    return {machine: rows() for machine in draw(st.sets(st.sampled_from(["gw-1", "gw-2"])))}


views = st.sampled_from([(), ("article",), ("bd",), ("article", "bd"), ("other",)])
steps = st.one_of(
    st.tuples(st.just("read"), trees()),
    st.tuples(st.just("watch"), views),
    st.tuples(st.just("turn"), st.tuples(st.integers(0, 5), st.integers(1, 4))),
)


@given(st.lists(steps, max_size=25), trees(), st.integers(1, 3), st.integers(1, 9))
def test_what_a_browser_has_in_the_end_is_what_its_person_may_see(
    played: Sequence[Step], last: dict[str, list[TreeRow]], piece: int, changed: int
) -> None:
    """Of random trees, changes, readers and rights; the rates apart, which have a test."""

    async def play(patch: pytest.MonkeyPatch) -> None:
        machines, feed = Machines(), live_feed()
        reader, watching = machines.reader(patch), list[Watching]()
        async with trio.open_nursery() as nursery:
            for kind, value in [*played, ("read", last)]:
                if kind == "read":
                    machines.trees = value
                    feed.publish(reader.read())
                elif kind == "watch":
                    watching.append(Watching(feed, viewer(*value)))
                    nursery.start_soon(watching[-1].run)
                elif value[0] < len(watching):
                    watching[value[0]].let(value[1])
                await trio.testing.wait_all_tasks_blocked()
            expected = {
                (row.crew, row.branch): msgspec.structs.asdict(live_tree_row(0, row, 0, ""))
                for row in tree_of(tree_answers(last)).rows
            }
            for each in watching:
                each.let(PLENTY)
                await trio.testing.wait_all_tasks_blocked()
                seen = {name: DEFAULTS | row for name, row in each.browser.branches.items()}
                for row in seen.values():
                    row.update(n=0, spent_rate=0, machines=tuple(row["machines"]))
                may = each.person.rights["view"]
                assert seen == {
                    name: row
                    for name, row in expected.items()
                    if "*" in may or name[0].partition(":")[0] in may
                }
            nursery.cancel_scope.cancel()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "ui_piece_rows_max", piece)
        patch.setattr(limits, "ui_changed_rows_max", changed)
        patch.setattr(limits, "ui_watcher_updates_max", 2)
        patch.setattr(limits, "ui_watchers_each_max", 99)
        trio.run(play, patch)


def row(branch: str, crew: str = "article", **fields: Any) -> TreeRow:
    return TreeRow(crew, branch, "live", **fields)


@pytest.fixture
def machines() -> Machines:
    return Machines()


@pytest.fixture
def feed() -> LiveFeed:
    return live_feed()


async def test_only_what_has_changed_is_sent(
    machines: Machines, feed: LiveFeed, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """An event each second all the same: it says that the page is up to date."""
    reader, watching = machines.reader(monkeypatch), Watching(feed, viewer())
    machines.trees["gw-1"] = [row("a", role="lead", quota=5), row("b", parent="a")]
    feed.publish(reader.read())
    watching.let(PLENTY)
    nursery.start_soon(watching.run)
    await trio.testing.wait_all_tasks_blocked()
    first = watching.browser.branches["article", "a"]["n"]
    machines.trees["gw-1"] = [row("a", quota=5, spent=3)]
    watching.browser.received.clear()
    feed.publish(reader.read())
    feed.publish(reader.read())
    await trio.testing.wait_all_tasks_blocked()
    changed, same = watching.browser.received
    gone = first + 1 if first == 1 else first - 1
    assert b'"rows":[{"n":%d,"role":"","spent":3}],"gone":[%d]' % (first, gone) in changed
    assert b'"rows":[],"gone":[]' in same
    assert watching.browser.resets == 1
    nursery.cancel_scope.cancel()


async def test_a_slow_browser_begins_anew_and_delays_no_other(
    machines: Machines, feed: LiveFeed, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """While it reads nothing, only so many updates wait for it."""
    reader = machines.reader(monkeypatch)
    quick, slow = Watching(feed, viewer()), Watching(feed, viewer())
    quick.let(PLENTY)
    slow.let(3)  # what it has at the start: machines, alerts, and the tree
    for each in (quick, slow):
        nursery.start_soon(each.run)
    for spent in range(limits.ui_watcher_updates_max + 9):
        machines.trees["gw-1"] = [row("a", spent=spent)]
        feed.publish(reader.read())
        await trio.testing.wait_all_tasks_blocked()
    assert quick.browser.branches["article", "a"]["spent"] == spent
    assert (quick.browser.resets, slow.browser.resets) == (1, 1)
    slow.let(PLENTY)
    await trio.testing.wait_all_tasks_blocked()
    assert slow.browser.branches["article", "a"]["spent"] == spent
    assert slow.browser.resets == 2
    # The start, the one update that it was about to take, and the second start.
    assert len(slow.browser.received) == 5
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("after", "why"),
    [("signed-out", "signed-out"), ("ended", "ended"), (viewer("bd"), "rights")],
)
async def test_a_stream_ends_with_the_session_and_the_rights(
    after: Any,
    why: str,
    machines: Machines,
    feed: LiveFeed,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Also while nothing is read; no row follows."""
    reader, watching = machines.reader(monkeypatch), Watching(feed, viewer("article"))
    watching.let(PLENTY)
    feed.publish(reader.read())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watching.run)
        await trio.testing.wait_all_tasks_blocked()
        watching.person = after
        machines.trees["gw-1"] = [row("a")]
        if why == "rights":
            feed.publish(reader.read())
        await watching.ended.wait()
    assert watching.browser.documents["session"] == {"why": why}
    assert watching.browser.branches == {}


async def test_who_sees_one_crew_gets_no_text_of_machines(
    machines: Machines, feed: LiveFeed, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """Components, reasons and errors can name other crews; states cannot."""
    bad = HealthCondition("crew finance", HealthState.FAILED, "finance owes", "pay", refuses=True)
    machines.health["gw-1"] = status_of(
        health=[bad], waiting_for=["crew finance: finance owes"], state=HealthState.FAILED
    )
    machines.not_asked = [SilentMachine("gw-2", "finance")]
    feed.publish(machines.reader(monkeypatch).read())
    all_, one = Watching(feed, viewer()), Watching(feed, viewer("article", name="person/eve"))
    for each in (all_, one):
        each.let(PLENTY)
        nursery.start_soon(each.run)
    await trio.testing.wait_all_tasks_blocked()
    assert b"finance" in b"".join(all_.browser.received)
    assert b"finance" not in b"".join(one.browser.received)
    (seen,) = one.browser.documents["machines"]["machines"]
    assert (seen["machine"], seen["status"]) == ("gw-1", "waiting")
    assert (seen["waiting_for"], seen["troubles"][0]["component"]) == (["health"], "health")
    assert all_.browser.documents["machines"]["machines"][0]["troubles"][0]["why"] == "finance owes"
    nursery.cancel_scope.cancel()


async def test_a_browser_hears_something_while_a_machine_keeps_the_reader_waiting(
    machines: Machines,
    feed: LiveFeed,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
) -> None:
    """An event that changes nothing, as of the reading before."""
    reader, watching = machines.reader(monkeypatch), Watching(feed, viewer())
    machines.trees["gw-1"] = [row("a")]
    feed.publish(reader.read())
    watching.let(PLENTY)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watching.run)
        await trio.testing.wait_all_tasks_blocked()
        received = watching.browser.received
        received.clear()
        await trio.sleep(3 * limits.ui_repeat_seconds + 0.1)
        assert len(received) == 3
        assert all(b'"rows":[],"gone":[],"at":0,' in each for each in received)
        assert [*watching.browser.branches] == [("article", "a")]
        nursery.cancel_scope.cancel()


async def test_health_is_sent_when_it_has_changed(
    machines: Machines, feed: LiveFeed, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """Not because an agent reads two clocks anew each time."""
    reader, watching = machines.reader(monkeypatch), Watching(feed, viewer())
    watching.let(PLENTY)
    nursery.start_soon(watching.run)
    for since in (100.2, 100.3, 200.0):
        bad = HealthCondition("ledger", HealthState.DEGRADED, "away", since=since)
        machines.health["gw-1"] = status_of(health=[bad], state=HealthState.DEGRADED)
        machines.now += limits.ui_health_seconds
        feed.publish(reader.read())
        await trio.testing.wait_all_tasks_blocked()
    sent = [each for each in watching.browser.received if each.startswith(b"event: machines")]
    assert len(sent) == 2
    nursery.cancel_scope.cancel()


async def test_an_agent_that_does_not_answer_leaves_the_tree_as_it_was(
    machines: Machines, feed: LiveFeed, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """The event says that no machine has answered."""
    reader, watching = machines.reader(monkeypatch), Watching(feed, viewer())
    machines.trees["gw-1"] = [row("a")]
    watching.let(PLENTY)
    nursery.start_soon(watching.run)
    for is_away in (False, True):
        machines.is_away = is_away
        feed.publish(reader.read())
        await trio.testing.wait_all_tasks_blocked()
    assert [*watching.browser.branches] == [("article", "a")]
    head = watching.browser.head
    assert (head["machines"], head["not_asked"][0]["machine"]) == ([], "gw-1")
    assert "does not answer" in head["not_asked"][0]["why"]
    machines.is_away, machines.trees["gw-1"] = False, [row("b")]
    feed.publish(reader.read())
    await trio.testing.wait_all_tasks_blocked()
    assert [*watching.browser.branches] == [("article", "b")]
    nursery.cancel_scope.cancel()


async def test_an_answer_that_nobody_foresaw_ends_no_page(
    machines: Machines,
    feed: LiveFeed,
    monkeypatch: pytest.MonkeyPatch,
    autojump_clock: trio.testing.MockClock,
    log_lines: list[str],
) -> None:
    """The reader begins anew, and so do the browsers: its numbers are others."""
    monkeypatch.setattr(feed, "_reader", lambda: machines.reader(monkeypatch))
    watching = Watching(feed, viewer())
    machines.trees["gw-1"] = [row("a"), row("b")]
    watching.let(PLENTY)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watching.run)
        await trio.testing.wait_all_tasks_blocked()
        assert await feed._read_once(reader := feed._reader())
        await trio.testing.wait_all_tasks_blocked()
        assert len(watching.browser.branches) == 2
        with monkeypatch.context() as broken:
            broken.setattr(machines, "cluster_status", None)
            machines.now += limits.ui_health_seconds
            assert not await feed._read_once(reader)
        machines.trees["gw-1"] = [row("c"), row("b")]
        assert await feed._read_once(feed._reader())
        await trio.testing.wait_all_tasks_blocked()
        assert {branch for _, branch in watching.browser.branches} == {"b", "c"}
        assert watching.browser.resets == 2
        nursery.cancel_scope.cancel()
    assert log_lines == ["what machines have answered cannot be shown: TypeError"]


def test_the_machine_of_the_page_has_the_name_that_its_agent_gives_it(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a machine whose configuration names none, the agent makes a name."""
    machines.reader(monkeypatch)
    reader = LiveReader(msgspec.structs.replace(LOCAL, name="host"), {})
    named = []
    for is_away in (True, False, True):
        machines.is_away = is_away
        named += [each.machine for each in reader.read().tree.head.not_asked]
    assert named == ["host", "gw-1"]


async def test_what_is_spent_has_a_rate_for_as_long_as_something_is_spent(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Micro-credits a minute over ten seconds; a machine that begins anew has none."""
    reader = machines.reader(monkeypatch)
    rates = []
    for spent in (5, 5, 15, 35, 35, 35, 35, 35, 35, 35, 35, 35, 35, 35, 3, 4):
        machines.trees["gw-1"] = [row("a", spent=spent)]
        (rows,) = reader.read().tree.rows.values()
        rates += [each.spent_rate for each in rows.values()]
        machines.now += 1
    assert rates[:4] == [0, 0, 300, 600]
    assert rates[10:14] == [180, 180, 120, 0]
    assert rates[14:] == [0, 6]


async def test_a_machine_that_comes_back_has_spent_nothing_meanwhile(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had spent before is no spending of now; what it spends then is."""
    reader = machines.reader(monkeypatch)
    here, there = [row("a", spent=5)], [row("a", spent=100)]
    rates = []
    for trees in (
        {"gw-1": here, "gw-2": there}, {"gw-1": here}, {"gw-1": here, "gw-2": there},
        {"gw-1": here, "gw-2": [row("a", spent=103)]},
    ):  # fmt: skip
        machines.trees = {**trees}
        (rows,) = reader.read().tree.rows.values()
        rates += [each.spent_rate for each in rows.values()]
        machines.now += 1
    assert rates == [0, 0, 0, 60]


def test_the_level_of_an_orchestrator_is_that_of_its_branches(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The strictest that is in force on any machine; it changes without any call."""
    reader = machines.reader(monkeypatch)
    machines.trees["gw-1"] = [
        row("a", orchestrator="article/x"), row("b", orchestrator="o"),
        row("a", "article:bd", orchestrator="article/x"),
    ]  # fmt: skip

    def level(**levels: str) -> set[str]:
        for machine, each in levels.items():
            watch = MintingWatchRow("article", "article/x", "quarantine", each, "watch")
            machines.health[machine] = status_of(watched=[watch])
        machines.now += limits.ui_health_seconds
        rows = [each for some in reader.read().tree.rows.values() for each in some.values()]
        assert [each.level for each in rows if each.branch == "b"] == [""]
        return {each.level for each in rows if each.branch == "a"}

    assert level() == {""}
    assert level(gw1="throttle") == {"throttle"}
    assert level(gw1="throttle", gw2="quarantine") == {"quarantine"}
    assert level(gw2="observe") == {"throttle"}
    assert level(gw1="observe") == {""}


async def test_a_person_may_begin_so_many_streams_and_no_more(feed: LiveFeed) -> None:
    """Each costs as much as all rows; another person is not held up."""
    state: Any = SimpleNamespace(live=feed, stream_limit=PersonLimiter("open a page", 1, 2))
    request = PageRequest({}, {}, b"", look_up=lambda: "ended")

    for _ in range(2):
        await live(state, viewer(), request)
    with pytest.raises(ControlError, match="may open a page 1 times a second"):
        await live(state, viewer(), request)
    await live(state, viewer(name="person/grace"), request)


def test_so_many_may_watch_and_no_more(feed: LiveFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one person, and of all; whoever goes makes room."""
    monkeypatch.setattr(limits, "ui_watchers_max", 3)
    monkeypatch.setattr(limits, "ui_watchers_each_max", 2)
    with feed.watching("ada"):
        with feed.watching("ada"):
            with pytest.raises(ControlError, match="may watch at once"), feed.watching("ada"):
                pass
            with feed.watching("grace"), pytest.raises(ControlError), feed.watching("eve"):
                pass
        with feed.watching("ada"):
            pass
