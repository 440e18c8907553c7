"""The agent says when a name was never seen, and which crews are over their share."""

import os
from pathlib import Path

import pytest
from agent_world import Start
from cluster_agent import Clustered
from grant_builders import branch_id, grant
from revocation_targets import branch, orchestrator

from crewgate import limits
from crewgate.agent import status
from crewgate.agent.ipc_server.admin_session import quarantine
from crewgate.agent.ipc_server.revoke_request import revoke
from crewgate.agent.revocation.target_existence import SEEN, NeverSeenResult, never_seen, was_minted
from crewgate.agent.state import AgentState
from crewgate.core.gossip.capsules import RevocationEntry
from crewgate.core.ids import EntityKind, crew_key
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.errors import GossipError
from crewgate.gossip.stream import TargetExistenceQuery
from crewgate.ipc.admin_messages import Quarantine, Revoke


async def asked(machine: AgentState, kind: EntityKind, name: str) -> str:
    """What the receipt says of it."""
    ask = Revoke(id=1, targets=[RevocationTarget(kind, name, "article")])
    receipt = await revoke(machine, ask, machine.clock.monotonic_ns())
    assert receipt.reach.applied_on == 1
    return receipt.never_seen


@pytest.mark.parametrize(
    ("kind", "known", "mistyped"),
    [
        (EntityKind.BRANCH, branch_id(1), branch_id(2)),
        (EntityKind.GRANT, grant(1, 500).claims.jti, "jti-none"),
        (EntityKind.PROCESS, grant(1, 500).claims.process_id, "pid_none"),
        (EntityKind.SUBJECT, grant(1, 500).claims.sub, "user-none"),
    ],
)
async def test_what_was_never_seen_is_said_and_revoked(
    start: Start, kind: EntityKind, known: str, mistyped: str
) -> None:
    """A machine that is alone speaks for all there are."""
    machine = start()
    machine.registry.learn(grant(1, 500))
    assert await asked(machine, kind, known) == ""
    assert await asked(machine, kind, mistyped) == "everywhere"


async def test_the_ledger_remembers_a_branch_that_the_table_has_forgotten(start: Start) -> None:
    """After a reboot: it drew credit, so somebody has seen it."""
    machine = start()
    clocks = machine.clock.read()
    machine.lease_client.draw(grant(1, 500), 10, clocks.wall, clocks.boot_ns)
    machine.registry.forget(grant(1, 500).branch_key)
    assert await asked(machine, EntityKind.BRANCH, branch_id(1)) == ""


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ([], NeverSeenResult("here", 1)),
        ([False], NeverSeenResult("here", 2)),
        ([False, False], NeverSeenResult("everywhere", 3)),
        ([False, True], SEEN),
        ([False] * 9, NeverSeenResult("everywhere", 3)),
    ],
)
async def test_other_members_are_asked(
    clustered: Clustered,
    monkeypatch: pytest.MonkeyPatch,
    answers: list[bool],
    found: NeverSeenResult,
) -> None:
    """Those who do not answer are not counted; one that knows the name is enough."""
    clustered.other("b")
    clustered.other("c")
    asked = []

    async def ask(question: TargetExistenceQuery) -> list[bool]:
        asked.append(question)
        return answers

    monkeypatch.setattr(clustered.cluster.service, "ask", ask)
    target = branch(branch_id(2), "article")
    assert await never_seen(clustered.machine, target) == found
    assert asked == [TargetExistenceQuery("branch", branch_id(2), "article")]
    clustered.machine.registry.learn(grant(2, 500))
    assert await never_seen(clustered.machine, target) == SEEN
    assert len(asked) == 1  # what is known here nobody else is asked about


async def test_a_member_is_answered(clustered: Clustered, monkeypatch: pytest.MonkeyPatch) -> None:
    """By registry, journals and ledger; what is no name gets no answer."""
    answer = clustered.cluster.gossip.on_question
    assert answer is not None
    clustered.machine.registry.learn(grant(1, 500))
    assert await answer(TargetExistenceQuery("branch", branch_id(1), "article")) is True
    assert await answer(TargetExistenceQuery("branch", branch_id(2), "article")) is False
    assert (
        await answer(TargetExistenceQuery("orchestrator", grant(1, 500).claims.client_id, ""))
        is True
    )
    assert await answer(TargetExistenceQuery("process", "pid_none", "article")) is False
    for bad in (
        TargetExistenceQuery("branch", "no uuid", "article"),
        TargetExistenceQuery("orchestrator", "a\0b", ""),
        TargetExistenceQuery("crew", "article", ""),
        TargetExistenceQuery("of a later version", "a", ""),
    ):
        with pytest.raises(
            GossipError, match=r"a question about an? (name that tokens do not have|invalid name)"
        ):
            await answer(bad)
    monkeypatch.setattr(type(clustered.machine.ledger_queue), "unavailable_reason", "it is away")
    assert await answer(TargetExistenceQuery("branch", branch_id(2), "article")) is None


async def test_an_orchestrator_that_nobody_knows(start: Start) -> None:
    """Whether it is ended or held; one that is seen, or stands for all, is not asked about."""
    machine = start()
    machine.registry.learn(grant(1, 500))
    known = grant(1, 500).claims.client_id
    for name, where in ((known, ""), ("article/none", "everywhere")):
        wish = Revoke(id=1, targets=[orchestrator(name, "article")])
        receipt = await revoke(machine, wish, machine.clock.monotonic_ns())
        assert receipt.never_seen == where
        ask = Quarantine(id=1, crew="article", orchestrator=name)
        assert (await quarantine(machine, ask)).never_seen == where
    strangers = Quarantine(id=1, crew="article", orchestrator="article/*")
    assert (await quarantine(machine, strangers)).never_seen == ""


async def test_the_watch_remembers_an_orchestrator_that_the_table_has_forgotten(
    start: Start,
) -> None:
    """After a reboot, or with another ledger; an order of a person alone is not a sight of it."""
    machine = start()
    called = grant(1, 500)
    assert machine.minting_watch.admits(called, machine.clock.read())
    assert not len(machine.registry)
    for name, where in ((called.orchestrator, ""), ("article/none", "everywhere")):
        for lift in (False, True):
            ask = Quarantine(id=1, crew="article", orchestrator=name, lift=lift)
            await quarantine(machine, ask)
        wish = Revoke(id=1, targets=[orchestrator(name, "article")])
        receipt = await revoke(machine, wish, machine.clock.monotonic_ns())
        assert receipt.never_seen == where


def test_a_crew_over_its_share_is_said_once_and_shown(start: Start, log_lines: list[str]) -> None:
    """In the log, which is in the audit too, and in status with how often."""
    machine = start()
    for number in range(31):
        machine.revoke([branch(branch_id(number), "article")])
    assert sum("used up its share" in text for text in log_lines) == 1
    (row,) = status.status(machine, 1).coarsened
    assert (row.crew, row.count) == ("article", 3)
    assert row.at == machine.believed().wall


def test_what_others_revoke_is_coarsened_here_aloud(
    clustered: Clustered, log_lines: list[str]
) -> None:
    """On the machine where it happens, also if another one began it."""
    wall = clustered.cluster.wall()
    crew = crew_key("article")
    entries = [
        RevocationEntry(EntityKind.BRANCH, bytes([n]) * 16, crew, 2**33, wall + 900)
        for n in range(30)
    ]
    clustered.cluster.apply(entries, [bytes(8)] * len(entries))
    assert sum("crew article has used up its share" in text for text in log_lines) == 1
    (row,) = status.status(clustered.machine, 1).coarsened
    assert (row.crew, row.count) == ("article", 2)


@pytest.mark.parametrize(
    ("kind", "claim"),
    [
        (EntityKind.BRANCH, "execution_branch_id"),
        (EntityKind.GRANT, "jti"),
        (EntityKind.PROCESS, "process_id"),
        (EntityKind.SUBJECT, "sub"),
    ],
)
async def test_what_was_minted_here_is_known_unused(
    start: Start, kind: EntityKind, claim: str
) -> None:
    """Also an older grant than a branch's newest: the journals of this machine have it."""
    machine = start()
    folder = machine.active_config.config.state / "issuer"
    folder.mkdir()
    line = f'{{"event":"mint","claims":{{"{claim}":"{branch_id(7)}"}}}}\n'
    (folder / "article+article-1.jsonl").write_text("{}\n" + line)
    assert await asked(machine, kind, branch_id(7)) == ""
    assert await asked(machine, kind, branch_id(8)) == "everywhere"


def test_more_than_can_be_looked_through_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it has not looked, it does not say that a name is mistyped."""
    (tmp_path / "a.jsonl").write_text("{}\n" * 10)
    os.mkfifo(tmp_path / "fifo.jsonl")  # an open of it would block
    assert not was_minted(tmp_path, "jti", "x")
    monkeypatch.setattr(limits, "seen_journal_bytes_max", 8)
    assert was_minted(tmp_path, "jti", "x")
