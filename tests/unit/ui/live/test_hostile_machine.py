"""A machine that sends what it likes: the page shows the others, and every event can be read."""

import json
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from live_page import Browser, Machines, live_feed, status_of, viewer
from machine_trees import tree_answers

from crewgate import limits
from crewgate.core.health import HealthCondition, HealthState
from crewgate.ipc.admin_messages import AgentStatus, MintingWatchRow, TreeRow
from crewgate.ipc.answer_parts import TreePart
from crewgate.ipc.machine_messages import MachineAnswer, TreeQuestion, encode
from crewgate.ui.live.watcher import View

GOOD = TreeRow("article", "a", "live", spent=1, role="lead")
WHOLE = encode(TreePart("ledger", [GOOD, TreeRow("article", "b", "live", parent="a")], True, 3))
NAMES = st.text(max_size=6) | st.sampled_from(["article", "article:x", "a", "\u202e", "\n\ndata:"])
AMOUNTS = st.integers(-(2**63), 2**64 - 1)


class Hostile(Machines):
    """gw-1 is honest; gw-2 sends `pages`."""

    def __init__(self) -> None:
        super().__init__()
        self.pages: list[bytes] = []

    def ask_machines(self, question: TreeQuestion, **_: object) -> Iterator[MachineAnswer]:
        yield from (MachineAnswer(1, "page", "gw-2", page) for page in self.pages)
        yield MachineAnswer(1, "whole", "gw-2")
        yield from tree_answers(self.trees)


def show(machines: Hostile, patch: pytest.MonkeyPatch, times: int = 2) -> Browser:
    """What a browser has after some readings."""
    reader, feed, browser = machines.reader(patch), live_feed(), Browser()
    view = View(viewer())
    for number in range(times):
        reading = reader.read()
        feed.publish(reading)
        machines.now += limits.ui_budgets_seconds
        events = (
            reading.tree.pieces(view.sees, is_whole=True)
            if number == 0
            else [reading.tree.event(view.sees, is_whole=True)]
        )
        for event in events:
            browser.take(event)
        for document in feed.documents.values():
            json.loads(document(view))
    assert browser.branches["article", "own"]["spent"] == 7
    return browser


def with_pages(*pages: bytes) -> Hostile:
    machines = Hostile()
    machines.trees["gw-1"] = [TreeRow("article", "own", "live", spent=7)]
    machines.pages = [*pages]
    return machines


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=4))
def test_bytes_that_are_no_answer_are_none(changes: list[tuple[int, int]]) -> None:
    """An answer with some other bytes."""
    page = bytearray(WHOLE)
    for place, value in changes:
        page[place] = value
    with pytest.MonkeyPatch.context() as patch:
        show(with_pages(bytes(page)), patch)


@given(st.lists(st.fixed_dictionaries(
    {"crew": NAMES, "branch": NAMES, "state": st.sampled_from(["live", "revoked", "made up"])},
    optional={
        **dict.fromkeys(("parent", "role", "orchestrator", "rule", "subject"), NAMES),
        **dict.fromkeys(("spent", "left", "quota", "burned", "calls", "issued"), AMOUNTS),
        "leased_on": st.dictionaries(NAMES, AMOUNTS, max_size=2),
        "rule_step": st.sampled_from(["warn", "end", "x"]),
    },
), max_size=5))  # fmt: skip
@example([{"crew": "article", "branch": "own", "state": "live", "spent": 2**56, "parent": "own"}])
@example([{"crew": "c", "branch": "x", "state": "live", "spent": 2**63}])
def test_rows_with_any_name_and_amount_make_events_that_can_be_read(
    rows: list[dict[str, object]],
) -> None:
    """Also twice the same name, a branch above itself, and amounts that no number of JSON holds."""
    honest = [row for row in rows if (row["crew"], row["branch"]) != ("article", "own")]
    page = msgspec.msgpack.encode({"ledger": "l", "rows": honest, "shares_ledger": True})
    with pytest.MonkeyPatch.context() as patch:
        show(with_pages(page), patch)
    page = msgspec.msgpack.encode({"ledger": "l", "rows": rows})
    machines = with_pages(page)
    machines.trees["gw-1"] = []
    with pytest.MonkeyPatch.context() as patch:
        reader = machines.reader(patch)
        for _ in range(2):
            for event in reader.read().tree.pieces(lambda _: True, is_whole=True):
                Browser().take(event)


FLOATS = st.floats()
STATES = st.sampled_from([*HealthState])


@given(NAMES, STATES, st.text(max_size=9), FLOATS, st.booleans(), NAMES, NAMES)
def test_any_health_is_shown(
    name: str, state: HealthState, why: str, since: float, passing: bool, crew: str, level: str
) -> None:
    """Of a machine whose clock, components and orchestrators are invented."""
    condition = HealthCondition(name or "x", state, why, since=since, passing=passing)
    status: AgentStatus = status_of(
        health=[condition], waiting_for=[why], state=state,
        watched=[MintingWatchRow(crew, name, level, level, why, 2**62)],
    )  # fmt: skip
    machines = with_pages(WHOLE)
    machines.health["gw-2"] = status
    with pytest.MonkeyPatch.context() as patch:
        browser = show(machines, patch)
    assert browser.branches["article", "a"]["role"] == "lead"
