"""Grants, and the tokens of a process or a crew: what is entered is what the gate looks up."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_world import Start
from crew_world import CREW, World
from gate_world import BOOT_NS, Gatehouse
from grant_builders import branch_id, grant, key

from crewgate import limits
from crewgate._native.table_owner import OwnedTable
from crewgate.agent.branch_registry import BranchRegistry
from crewgate.agent.ipc_server.admin_session import revoke
from crewgate.agent.journal import StateJournal
from crewgate.agent.revocation import types
from crewgate.agent.revocation.revocations import Revocations
from crewgate.agent.revocation.types import ClockReading
from crewgate.core.audit.records import Record, RevocationRecord
from crewgate.core.cross_crew_account import ISSUER
from crewgate.core.ids import KeyKind, crew_key, table_key
from crewgate.core.policy.policy import CrewPolicy
from crewgate.core.verdict import Reason
from crewgate.errors import RefusedError
from crewgate.ipc.admin_messages import Revoke, Target

NOW = ClockReading(wall=1_800_000_000, boot_ns=10**12)
ARTICLE = CrewPolicy("article", "https://orchestrator.example")
CREWS = (
    ARTICLE,
    CrewPolicy("finance", "https://finance.example"),
    CrewPolicy("article:finance", ISSUER),
)
NAMES: dict[Target, str] = {"grant": "grant-x", "process": "pid_7729", "crew": CREW}
TOKENS: list[Target] = ["grant", "process", "crew"]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[StateJournal[types.NewRevocation]]:
    """Empty."""
    journal = StateJournal(tmp_path / "revocations", types.NewRevocation, print)
    journal.rewrite([])
    yield journal
    journal.close()


@pytest.fixture
def revocations(
    table: OwnedTable, journal: StateJournal[types.NewRevocation], registry: BranchRegistry
) -> Revocations:
    """Nothing revoked yet; 64 places."""
    return Revocations(table, journal, registry)


@pytest.mark.parametrize("target", TOKENS)
def test_what_is_entered_is_what_the_gate_looks_up(
    target: Target, journal: StateJournal[types.NewRevocation], registry: BranchRegistry
) -> None:
    """An open call hears of it, and its token is refused; of a process or crew later ones live."""
    house = Gatehouse(World.make())
    world, crews = house.world, house.world.policy.crews
    whose = "" if target == "crew" else CREW
    token = world.mint(jti="grant-x")
    sibling = world.mint(jti="grant-y", process_id="pid_1")
    with house.permit(token) as running:
        now = ClockReading(world.now, BOOT_NS)
        found = Revocations(house.table, journal, registry)
        done = found.revoke(NAMES[target], whose, crews, now, target=target)
        assert done.key in running.revocable
        assert running.revoked
    assert house.reason(token) is Reason.BRANCH_REVOKED
    assert (house.reason(sibling) is None) is (target != "crew")
    last, first = (world.now + limits.leeway_seconds + more for more in (0, 1))
    house.at(limits.leeway_seconds + 1)
    for issued, lives in ((last, False), (first, target != "grant")):
        later = world.mint(jti="grant-x", iat=issued, exp=issued + 900)
        assert (house.reason(later) is None) is lives
    assert house.reason(world.mint(iat=first, exp=first + 900)) is None  # of the same branch


@pytest.mark.parametrize("target", ["grant", "process"])
def test_over_its_share_a_crew_is_coarsened(
    revocations: Revocations, table: OwnedTable, target: Target
) -> None:
    """Both take places as branches do: beyond, all that was issued until now is dead."""
    for number in range(28):
        done = revocations.revoke(f"n-{number}", "article", CREWS, NOW, target=target)
        assert (done.coarsened, done.target) == (False, target)
    done = revocations.revoke("n-28", "article", CREWS, NOW, target=target)
    assert (done.coarsened, done.target, done.id) == (True, "crew", "article")
    assert (done.asked, done.name, done.branch_key) == (target, "n-28", b"")
    assert done.key == crew_key("article")
    assert table.is_revoked(crew_key("article"), NOW.wall)
    assert not table.is_revoked(crew_key("article"), NOW.wall + limits.leeway_seconds + 1)
    assert not revocations.revoke("n-0", "article", CREWS, NOW, target=target).coarsened
    assert revocations.revoke(branch_id(1), "article", CREWS, NOW).coarsened
    assert not table.is_revoked(crew_key("finance"), NOW.wall)


def test_a_crew_has_a_place_of_its_own(revocations: Revocations, table: OwnedTable) -> None:
    """With its share used up; and it is no coarsening: a person has asked for it."""
    crews = (CrewPolicy("article", "https://o.example", live_revocations_max=2), *CREWS[1:])
    for number in range(2):
        revocations.revoke(f"n-{number}", "article", crews, NOW, target="grant")
    assert not table.is_revoked(crew_key("article"), NOW.wall)
    done = revocations.revoke("article", "", crews, NOW, target="crew")
    assert (done.coarsened, done.asked, done.crew) == (False, "crew", "article")
    assert table.is_revoked(crew_key("article"), NOW.wall)


def test_a_full_table_says_how_to_mend(revocations: Revocations, table: OwnedTable) -> None:
    """With nothing entered: the receipt of it would be a lie."""
    for number in range(64):
        table.revoke(number.to_bytes(16), crew_key("x"), 1, 86_400, NOW.wall, NOW.boot_ns)
    for target, name in NAMES.items():
        with pytest.raises(RefusedError, match=r"remove the crew's key .* \[table\] revocations"):
            revocations.revoke(name, "article", CREWS, NOW, target=target)
    assert len(revocations) == 0


@pytest.mark.parametrize(
    ("target", "name", "crew", "says"),
    [
        ("grant", "g", "", r"say whose grant it is: --crew article\|finance$"),
        ("process", "p", "", "say whose process it is"),
        ("grant", "g", "nobody", "'nobody' is no crew that has tokens; configured are: article"),
        ("process", "p", "article:finance", "no crew that has tokens"),
        ("crew", "nobody", "", "'nobody' is no crew"),
        ("crew", "", "", "say whose"),
        ("crew", "article:finance", "", "no crew that has tokens"),
        ("grant", "eyJ secret", "article", "no grant's id"),
        ("process", "", "article", "no process's id"),
    ],
)
def test_bad_requests_are_refused_and_change_nothing(
    revocations: Revocations, table: OwnedTable, target: Target, name: str, crew: str, says: str
) -> None:
    """The refusal says what is wrong, and repeats nothing that may be a piece of a token."""
    before = table.revocation_generation
    with pytest.raises(RefusedError, match=says) as refused:
        revocations.revoke(name, crew, CREWS, NOW, target=target)
    assert "secret" not in str(refused.value)
    assert (table.revocation_generation, len(revocations)) == (before, 0)


def test_a_restart_has_them_again_and_closes_nothing_in_the_ledger(start: Start) -> None:
    """A grant is dead for good and has no account; a certificate neither."""
    machine = start()
    for target, name in (("grant", "g"), ("process", "p"), ("crew", "article")):
        machine.close(machine.revoke(name, "article", target=target).done)  # type: ignore[arg-type]
    machine.close(machine.revoke(branch_id(1), "article").done)
    machine = start()
    assert len(machine.revocations) == 4
    rows = machine.ledger_queue.ledger.session.rows("SELECT key FROM closed")
    assert {each for (each,) in rows} == {key(1)}


@pytest.mark.parametrize(
    ("target", "name"), [("grant", "grant-x"), ("process", "pid_7"), ("crew", "article")]
)
async def test_the_receipt_and_the_audit_say_what_it_was(
    start: Start, written: list[Record], target: Target, name: str
) -> None:
    """By whom, whose, and as a person may ask the audit for it again."""
    machine = start()
    machine.registry.learn(grant(1, 500))
    ask = Revoke(id=7, target=target, name=name, crew="article")
    receipt = await revoke(machine, ask, machine.clock.monotonic_ns())
    assert (receipt.target, receipt.name, receipt.crew) == (target, name, "article")
    (found,) = [each for each in written if isinstance(each, RevocationRecord)]
    assert (found.target, found.id, found.crew, found.by) == (target, name, "article", "owner")
    assert found.branch == ""
    assert found.grant == (name if target == "grant" else "")
    assert found.process == (name if target == "process" else "")
    kind = {"grant": KeyKind.GRANT, "process": KeyKind.PROCESS, "crew": KeyKind.CREW}[target]
    identifier = b"" if target == "crew" else name.encode()
    assert machine.table.is_revoked(table_key(kind, "article", identifier), 0)
