"""What a branch has done: of its crew alone, and only for who may view it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest
from audit_records import CHILD, NOON, ROOT, grant, permit, rule_step
from live_page import viewer
from page_world import PageWorld

from crewgate import limits
from crewgate.audit.filters import AuditFilter
from crewgate.audit.member_report import answer
from crewgate.core.audit.json_line import encode
from crewgate.core.audit.records import Record
from crewgate.errors import ControlError
from crewgate.ipc.machine_messages import AuditQuestion, MachineAnswer
from crewgate.ui import branch_history
from crewgate.ui.branch_history import BranchHistory, branch
from crewgate.ui.endpoint import PageRequest
from crewgate.ui.person import Person

RECORDS: list[Record] = [
    grant(ROOT, "lead", 0),
    permit(1, ROOT, "lead", "search.web", 10_000),
    permit(2, CHILD, "researcher", "search.web", 20_000),
    permit(65, CHILD, "researcher", "search.web", 5_000),
    permit(3, CHILD, "researcher", "search.web", 7, crew="finance"),
    rule_step(4, CHILD, "researcher", "loops", "warn", 4),
]


class Agent:
    """Answers of two machines: gw-1 has the records, and gw-2 does not know the question.

    `lies` are pages that gw-1 sends besides.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        lines = b"".join(map(encode, RECORDS))
        (folder / "worker-0-20261124T120000.000000Z.jsonl").write_bytes(lines)
        self.folder, self.lies = folder, list[bytes]()
        self.asked: list[AuditFilter] = []

    def __call__(self, folder: Path, seconds: float) -> Self:
        assert seconds > limits.members_audit_seconds_max
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        pass

    def ask_machines(self, question: AuditQuestion) -> Iterator[MachineAnswer]:
        filters = msgspec.json.decode(question.filters, type=AuditFilter)
        self.asked.append(filters)
        question = msgspec.structs.replace(
            question, filters=msgspec.json.encode(msgspec.structs.replace(filters, since=NOON))
        )
        pages = answer(self.folder, question, self.folder)
        for page in [*pages, *self.lies]:
            yield MachineAnswer(1, "page", "gw-1", page)
        yield MachineAnswer(1, "failed", "gw-2", why="it runs an earlier version")
        yield MachineAnswer(1, "end", "gw-1")


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agent:
    agent = Agent(tmp_path / "audit")
    monkeypatch.setattr(branch_history, "AdminClient", agent)
    return agent


@pytest.fixture
def world(tmp_path: Path) -> PageWorld:
    return PageWorld(tmp_path)


async def history(world: PageWorld, person: Person, **query: str) -> BranchHistory:
    request = PageRequest({}, query, b"", look_up=lambda: person)
    return await branch(world.state, person, request)


async def test_a_branch_has_its_calls_and_those_below_it(agent: Agent, world: PageWorld) -> None:
    """Its own grants, steps of rules, the cost of each minute; and who cannot answer."""
    found = await history(world, viewer("article"), crew="article", branch=ROOT)
    assert [row.cost_micro for row in found.calls] == [10_000, 20_000, 5_000]
    assert [row.branch for row in found.grants] == [ROOT]
    assert [row.branch for row in found.rules] == [CHILD]
    minute = int(NOON.timestamp()) // 60
    assert found.spend == [(minute, 30_000), (minute + 1, 5_000)]
    assert (found.machines, [each.machine for each in found.not_asked]) == (["gw-1"], ["gw-2"])
    # Only who sees all crews gets the texts of machines, which may name any crew.
    assert [each.why for each in found.not_asked] == ["it gave no whole answer"]
    for_all = await history(world, viewer(), crew="article", branch=ROOT)
    assert [each.why for each in for_all.not_asked] == ["it runs an earlier version"]
    assert agent.asked[0].since is not None
    below = await history(world, viewer("article"), crew="article", branch=CHILD)
    assert [row.cost_micro for row in below.calls] == [20_000, 5_000]
    whole = await history(world, viewer("article"), crew="article")
    assert len(whole.calls) == 3


async def test_a_branch_of_another_crew_is_not_seen_by_its_id(
    agent: Agent, world: PageWorld
) -> None:
    """Neither by naming an own crew, nor if a machine sends rows that nobody has asked for."""
    found = await history(world, viewer("finance"), crew="finance", branch=CHILD)
    assert [row.cost_micro for row in found.calls] == [7]
    everything = AuditQuestion("history", msgspec.json.encode(AuditFilter(since=NOON)))
    agent.lies = answer(agent.folder, everything, agent.folder)
    found = await history(world, viewer("finance"), crew="finance", branch=CHILD)
    assert {row.crew for row in found.calls} == {"finance"}
    assert (found.grants, found.rules) == ([], [])


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"crew": "bd"}, 403),
        ({"crew": "bd:article"}, 403),
        ({}, 400),
        ({"crew": "article", "branch": "nonsense"}, 400),
        ({"crew": "article", "branch": "' OR 1=1 --"}, 400),
    ],
)
async def test_a_history_needs_a_crew_that_one_may_view(
    query: dict[str, Any], status: int, agent: Agent, world: PageWorld
) -> None:
    """And nobody is asked before."""
    with pytest.raises(ControlError) as refused:
        await history(world, viewer("article"), **query)
    assert (refused.value.status, agent.asked) == (status, [])


async def test_an_account_of_calls_between_crews_belongs_to_its_caller(
    agent: Agent, world: PageWorld
) -> None:
    """The audit names the caller."""
    found = await history(world, viewer("article"), crew="article:bd", branch=CHILD)
    assert agent.asked[0].crew == "article"
    assert len(found.calls) == 2


async def test_a_person_may_ask_so_often(agent: Agent, world: PageWorld) -> None:
    """Each question starts a process on each machine."""
    for _ in range(limits.ui_questions_burst):
        world.state.question_limit.take("person/ada")
    with pytest.raises(ControlError) as refused:
        await history(world, viewer("article"), crew="article")
    assert (refused.value.status, agent.asked) == (429, [])
    other = viewer("article", name="person/grace")
    assert len((await history(world, other, crew="article")).calls) == 3
