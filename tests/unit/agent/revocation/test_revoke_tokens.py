"""Grants, and the tokens of a process or a crew: what is entered is what the gate looks up."""

import pytest
from agent_world import Start
from crew_world import CREW, World
from gate_world import BOOT_NS, Gatehouse
from grant_builders import branch_id, grant, key
from revocation_targets import branch, revoke_one

from crewgate import limits
from crewgate._native.table_owner import OwnedTable
from crewgate.agent.branch_registry import BranchRegistry
from crewgate.agent.ipc_server.revoke_request import revoke
from crewgate.agent.journal_file import JournalFile
from crewgate.agent.revocation import types
from crewgate.agent.revocation.revocation_store import RevocationStore
from crewgate.agent.revocation.types import ClockReading
from crewgate.core.audit.records import Record, RevocationRecord
from crewgate.core.cross_crew_accounts import ISSUER
from crewgate.core.ids import EntityKind, crew_key
from crewgate.core.policy.policy import CrewPolicy
from crewgate.core.reasons import Reason
from crewgate.core.revocation_kinds import (
    BY_CLAIM_LABEL,
    KINDS,
    NAMED_IN_TOKENS,
    RevocationKindRules,
    RevocationTarget,
)
from crewgate.errors import ServiceRefusedError
from crewgate.ipc.admin_messages import Revoke
from crewgate.issuer.inspection import read_claims

NOW = ClockReading(wall=1_800_000_000, boot_ns=10**12)
ARTICLE = CrewPolicy("article", "https://orchestrator.example")
CREWS = (
    ARTICLE,
    CrewPolicy("finance", "https://finance.example"),
    CrewPolicy("article:finance", ISSUER),
)
OF_TOKENS = [each for each in KINDS.values() if each.of_configured_crew]
NAMES = {EntityKind.GRANT: "grant-x", EntityKind.PROCESS: "pid_7729", EntityKind.CREW: CREW}


@pytest.mark.parametrize(
    "rules", [each for each in OF_TOKENS if each.kind is not EntityKind.BRANCH]
)
def test_what_is_entered_is_what_the_gate_looks_up(
    rules: RevocationKindRules,
    journal: JournalFile[types.StoredRevocation],
    registry: BranchRegistry,
) -> None:
    """An open call hears of it, and its token is refused; of a process or crew later ones live."""
    house = Gatehouse(World.make())
    world, crews = house.world, house.world.policy.crews
    token = world.mint(jti="grant-x")
    is_crew, shown = rules.kind is EntityKind.CREW, read_claims(token.decode())
    target = (
        RevocationTarget(EntityKind.CREW, CREW)
        if is_crew
        else RevocationTarget(rules.kind, getattr(shown, rules.claim), CREW)
    )
    sibling = world.mint(**{each.claim: "article/another" for each in NAMED_IN_TOKENS})
    with house.permit(token) as running:
        now = ClockReading(world.now, BOOT_NS)
        found = RevocationStore(house.table, journal, registry)
        done = revoke_one(found, target, crews, now)
        assert bytes.fromhex(done.wanted.key) in running.revocable
        assert running.revoked
    assert house.reason(token) is Reason.BRANCH_REVOKED
    assert (house.reason(sibling) is None) is (not is_crew)
    last, first = (world.now + limits.leeway_seconds + more for more in (0, 1))
    house.at(limits.leeway_seconds + 1)
    for issued, lives in ((last, False), (first, not rules.is_for_good)):
        later = world.mint(jti="grant-x", iat=issued, exp=issued + 900)
        assert (house.reason(later) is None) is lives
    further = house.reason(world.mint(iat=first, exp=first + 900))  # of the same branch
    assert (further is None) is (rules.kind is not EntityKind.SUBJECT)


@pytest.mark.parametrize("kind", [EntityKind.GRANT, EntityKind.PROCESS])
def test_over_its_share_a_crew_is_coarsened(
    revocations: RevocationStore, table: OwnedTable, kind: EntityKind
) -> None:
    """Both take places as branches do: beyond, all that was issued until now is dead."""
    targets = [RevocationTarget(kind, f"n-{number}", "article") for number in range(29)]
    for target in targets[:-1]:
        done = revoke_one(revocations, target, CREWS, NOW)
        assert (done.coarse, done.ended) == (None, (kind.label, target.name))
    done = revoke_one(revocations, targets[-1], CREWS, NOW)
    assert (done.target, done.ended) == (targets[-1], ("crew", "article"))
    assert done.to_announce == [done.coarse, done.wanted]
    assert [each.key for each in done.to_announce] == [
        crew_key("article").hex(),
        targets[-1].key.hex(),
    ]
    assert table.is_revoked(crew_key("article"), NOW.wall)
    assert not table.is_revoked(crew_key("article"), NOW.wall + limits.leeway_seconds + 1)
    assert revoke_one(revocations, targets[0], CREWS, NOW).coarse is None
    assert revoke_one(revocations, branch(branch_id(1), "article"), CREWS, NOW).coarse
    assert not table.is_revoked(crew_key("finance"), NOW.wall)


def test_a_crew_has_a_place_of_its_own(revocations: RevocationStore, table: OwnedTable) -> None:
    """With its share used up; and it is no coarsening: a person has asked for it."""
    crews = (CrewPolicy("article", "https://o.example", live_revocations_max=2), *CREWS[1:])
    for number in range(2):
        target = RevocationTarget(EntityKind.GRANT, f"n-{number}", "article")
        revoke_one(revocations, target, crews, NOW)
    assert not table.is_revoked(crew_key("article"), NOW.wall)
    done = revoke_one(revocations, RevocationTarget(EntityKind.CREW, "article"), crews, NOW)
    assert (done.coarse, done.target.crew) == (None, "article")
    assert table.is_revoked(crew_key("article"), NOW.wall)


def test_a_full_table_says_how_to_mend(revocations: RevocationStore, table: OwnedTable) -> None:
    """With nothing entered: the receipt of it would be a lie."""
    for number in range(64):
        table.revoke(number.to_bytes(16), crew_key("x"), 1, 86_400, NOW.wall, NOW.boot_ns)
    for kind, name in NAMES.items():
        target = RevocationTarget(kind, name, "article")
        with pytest.raises(ServiceRefusedError, match=r"remove the key .* \[table\] revocations"):
            revoke_one(revocations, target, CREWS, NOW)
    assert len(revocations) == 0


@pytest.mark.parametrize(
    ("kind", "name", "crew", "says"),
    [
        (EntityKind.GRANT, "g", "", r"name the crew of the grant: --crew article\|finance$"),
        (EntityKind.PROCESS, "p", "", "name the crew of the process: "),
        (
            EntityKind.GRANT,
            "g",
            "nobody",
            "no crew that has tokens; configured are: article",
        ),
        (EntityKind.PROCESS, "p", "article:finance", "no crew that has tokens"),
        (EntityKind.CREW, "nobody", "", "'nobody' is no crew"),
        (EntityKind.CREW, "", "", r"name the crew: --crew article\|finance$"),
        (EntityKind.CREW, "article:finance", "", "no crew that has tokens"),
        (
            EntityKind.GRANT,
            "eyJ secret",
            "article",
            "not a valid grant name: expected a text of a token",
        ),
        (EntityKind.PROCESS, "", "article", "not a valid process name: expected a text of a token"),
    ],
)
def test_bad_requests_are_refused_and_change_nothing(
    revocations: RevocationStore,
    table: OwnedTable,
    kind: EntityKind,
    name: str,
    crew: str,
    says: str,
) -> None:
    """The refusal says what is wrong, and repeats nothing that may be a piece of a token."""
    before = table.revocation_generation
    with pytest.raises(ServiceRefusedError, match=says) as refused:
        revoke_one(revocations, RevocationTarget(kind, name, crew), CREWS, NOW)
    assert "secret" not in str(refused.value)
    assert (table.revocation_generation, len(revocations)) == (before, 0)


def test_a_restart_has_them_again_and_closes_nothing_in_the_ledger(start: Start) -> None:
    """A grant is dead for good and has no account; a certificate neither."""
    machine = start()
    for kind, name in (
        (EntityKind.GRANT, "g"),
        (EntityKind.PROCESS, "p"),
        (EntityKind.CREW, "article"),
    ):
        machine.close(machine.revoke([RevocationTarget(kind, name, "article")]).results)
    machine.close(machine.revoke([branch(branch_id(1), "article")]).results)
    machine = start()
    assert len(machine.revocations) == 4
    rows = machine.ledger_queue.ledger.session.rows("SELECT key FROM closed")
    assert {each for (each,) in rows} == {key(1)}


@pytest.mark.parametrize("by", ["", "operator/ada"])
@pytest.mark.parametrize("rules", OF_TOKENS, ids=lambda rules: rules.label)
async def test_the_receipt_and_the_audit_say_what_it_was(
    start: Start, written: list[Record], rules: RevocationKindRules, by: str
) -> None:
    """By whom, whose, and as a person may ask the audit for it again."""
    machine = start()
    machine.registry.learn(grant(1, 500))
    name = {EntityKind.BRANCH: branch_id(2), EntityKind.CREW: "article"}.get(rules.kind, "name-7")
    target = RevocationTarget(rules.kind, name, "article")
    request = Revoke(id=7, targets=[target], by=by)
    receipt = await revoke(machine, request, machine.clock.monotonic_ns())
    assert receipt.targets == [target]
    (found,) = [each for each in written if isinstance(each, RevocationRecord)]
    assert (found.target, found.id, found.crew) == (rules.label, name, "article")
    assert found.by == (by or "owner")
    named = {each.label: getattr(found, each.label) for each in BY_CLAIM_LABEL.values()}
    assert named == {label: name if label == rules.label else "" for label in named}
    assert machine.table.is_revoked(target.key, 0)
