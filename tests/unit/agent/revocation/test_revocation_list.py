"""What one machine can say about what is revoked: its own, and that of other machines."""

from collections.abc import Sequence

import msgspec
import pytest
from agent_world import Hands, Start
from grant_builders import NOW, branch_id, grant
from revocation_targets import branch, certificate

from crewgate import limits
from crewgate.agent.ipc_server.revoke_request import revoke
from crewgate.agent.revocation.remote_revocations import RemoteRevocations
from crewgate.agent.revocation.revocation_list import in_force, newest, snapshot
from crewgate.agent.revocation.types import RevocationCause
from crewgate.agent.state import AgentState
from crewgate.core.gossip.capsules import QUARANTINE, RevocationEntry
from crewgate.core.ids import EntityKind, branch_key, crew_key, table_key
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.ipc.admin_messages import Revoke
from crewgate.ipc.revocation_messages import RevocationRow

RULE = RevocationCause("rule/loops", "rule loops: the same call 20 times")
ORIGIN = bytes(range(8))
BRANCH = branch_id(3)


def listed(agent: AgentState, crew: str = "", limit: int = 100) -> list[RevocationRow]:
    rows, total = newest(snapshot(agent), crew, limit)
    assert total >= len(rows)
    return rows


def theirs(agent: AgentState, kind: int, key: bytes, crew: str = "article") -> RevocationEntry:
    expires = agent.believed().wall + limits.revocation_seconds
    return RevocationEntry(kind, key, crew_key(crew), limits.time_seconds_max, expires)


def test_who_and_why_are_kept_over_a_restart(start: Start) -> None:
    """The first order stays the cause, unless only a later one says why."""
    agent = start()
    subject = RevocationTarget(EntityKind.SUBJECT, "user:ada")
    agent.revoke([branch(BRANCH, "article")], cause=RULE)
    agent.revoke([branch(BRANCH, "article")], cause=RevocationCause("operator/eve", "me too"))
    agent.revoke([subject])
    agent.revoke([subject], cause=RevocationCause("operator/ada", "left the company"))
    wall = agent.believed().wall
    before = listed(agent)
    agent.revocations_journal.close()
    assert listed(start()) == before
    first, second = before
    assert {first.kind, second.kind} == {"branch", "subject"}
    ended, left = (first, second) if first.kind == "branch" else (second, first)
    assert (ended.name, ended.crew, ended.by, ended.reason) == (BRANCH, "article", *RULE)
    assert (ended.at, ended.expires) == (wall, wall + limits.revocation_seconds)
    assert (left.name, left.crew, left.by) == ("user:ada", "", "operator/ada")
    assert left.reason == "left the company"
    assert (left.before, left.origin) == (0, agent.machine_name)


def test_the_newest_are_listed_and_all_are_counted(start: Start, hands: Hands) -> None:
    """In the order of time."""
    agent = start()
    for number in range(5):
        agent.revoke([branch(branch_id(number), "article")])
        hands.go(1)
    rows, total = newest(snapshot(agent), "article", 2)
    assert [row.name for row in rows] == [branch_id(3), branch_id(4)]
    assert (total, newest(snapshot(agent), "bd", 2)) == (5, ([], 0))


def test_what_has_expired_is_not_listed(start: Start, hands: Hands) -> None:
    """The table keeps it for longer, since a clock may be wrong."""
    agent = start()
    agent.revoke([branch(BRANCH, "article")])
    hands.go(limits.revocation_seconds + 1)
    assert listed(agent) == []


def test_of_another_machine_the_key_and_the_origin_are_known(start: Start) -> None:
    """A quarantine is no revocation; what this machine has ordered itself, it knows better."""
    agent = start()
    key = branch_key("article", BRANCH)
    other = table_key(EntityKind.GRANT, "article", b"g-1")
    entries = [
        theirs(agent, EntityKind.BRANCH, key),
        theirs(agent, EntityKind.GRANT, other),
        theirs(agent, EntityKind.CREW, crew_key("article")),
        theirs(agent, QUARANTINE, bytes(16)),
    ]
    agent.revocations.apply_remote(entries, agent.believed())
    agent.remote_revocations.add(entries, [ORIGIN] * 4)
    by_kind = {row.kind: row for row in listed(agent)}
    assert set(by_kind) == {"branch", "grant", "crew"}
    grant = by_kind["grant"]
    assert (grant.name, grant.key, grant.crew) == ("", other.hex(), "article")
    assert (grant.by, grant.reason) == (f"gateway/{ORIGIN.hex()}", "")
    assert grant.at == agent.believed().wall
    assert (by_kind["crew"].name, by_kind["crew"].crew) == ("article", "article")
    agent.revoke([branch(BRANCH, "article")], cause=RULE)
    (own,) = [row for row in listed(agent) if row.kind == "branch"]
    assert (own.name, own.by) == (BRANCH, RULE.by)
    assert in_force(agent, [key, other, bytes(16)]) == [True, True, False]


def test_a_storm_of_other_machines_takes_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten, and what comes again is new."""
    monkeypatch.setattr(limits, "remote_revocations_max", 3)
    found = RemoteRevocations()

    def entries(*numbers: int) -> Sequence[RevocationEntry]:
        return [RevocationEntry(1, bytes([n]) * 16, bytes(16), 2**33, 10**9) for n in numbers]

    for each in entries(1, 2, 3, 1, 4):
        found.add([each], [ORIGIN])
    assert [each.entry.key[0] for each in found] == [3, 1, 4]
    found.tidy(10**9)
    assert list(found) == []


async def test_a_receipt_says_how_many_runs_of_a_subject_ended(start: Start) -> None:
    """Those with a live branch: none that has ended before, by time or by a revocation."""
    agent = start()
    for each in (
        grant(1, 900),
        grant(2, 800, (1, 900, None)),  # of the same run
        grant(4, 700, (3, 900, None)),  # its run has made no call itself
        grant(5, 900),
        grant(6, 900, iat=int(NOW) - 9000),
    ):
        agent.registry.learn(each)
    agent.revoke([branch(branch_id(5), "article")])
    subject = RevocationTarget(EntityKind.SUBJECT, "user_414")
    other = msgspec.structs.replace(subject, name="user_415")
    runs = [
        (await revoke(agent, Revoke(1, [target]), 1)).runs_ended
        for target in (other, subject, subject)
    ]
    assert runs == [0, 2, 0]


async def test_certificates_have_a_cause_too(start: Start) -> None:
    """As the CA has it."""
    agent = start()
    await revoke(agent, Revoke(1, [certificate(1)], by="operator/ada", reason="keyCompromise"), 1)
    (row,) = listed(agent)
    assert (row.kind, row.by, row.reason) == ("certificate", "operator/ada", "keyCompromise")
    assert row.at == agent.believed().wall
