"""What is revoked is refused, whoever is named, and nothing beside it."""

import mmap
import os
from pathlib import Path

import pytest
from crew_world import BRANCH, CREW, KID, PARENT, ROOT, World
from gate_world import BOOT_NS, Gatehouse
from hypothesis import given
from hypothesis import strategies as st

from crewgate._native.gate import Gate
from crewgate._native.records import TableCapacities
from crewgate._native.table import Table
from crewgate._native.table_owner import OwnedTable
from crewgate.core import ids
from crewgate.core.ids import EntityKind, uuid_bytes
from crewgate.core.reasons import Reason
from crewgate.core.verdict import Denial

PING = 2
WORLD = World.make()
SIBLING = "0199c1d2-0000-7000-8000-0000000000aa"
# What a token names, and a sibling that is named apart from it in that way.
NAMED = {
    "the grant": (EntityKind.GRANT, b"grant-x", {"jti": "grant-y"}),
    "the branch": (EntityKind.BRANCH, uuid_bytes(BRANCH), {"execution_branch_id": SIBLING}),
    "the parent": (
        EntityKind.BRANCH,
        uuid_bytes(PARENT),
        {"execution_branch_id": SIBLING, "up": 1},
    ),
    "the root": (EntityKind.BRANCH, uuid_bytes(ROOT), {"execution_branch_id": SIBLING, "up": 2}),
    "the process": (EntityKind.PROCESS, b"pid_7729", {"process_id": "pid_1"}),
    "the orchestrator": (
        EntityKind.ORCHESTRATOR,
        b"article/article-1",
        {"client_id": "article/two"},
    ),
    "the subject": (EntityKind.SUBJECT, b"user_414", {"sub": "user_415"}),
}


@pytest.fixture
def house() -> Gatehouse:
    return Gatehouse(World.make())


def sibling_token(world: World, changes: dict[str, object]) -> bytes:
    """The same claims but for what is named; `up`: without the last so many ancestors."""
    path = world.claims()["branch_path"]
    up = changes.get("up", 0)
    assert isinstance(up, int)
    rest = {name: value for name, value in changes.items() if name != "up"}
    return world.mint(**{"jti": "grant-z", "branch_path": path[: len(path) - up], **rest})


@pytest.mark.parametrize("named", NAMED)
@pytest.mark.parametrize("seen", ["seen", "unseen"])
def test_revoking_anything_that_a_token_names_ends_it(
    house: Gatehouse, named: str, seen: str
) -> None:
    """Token, branch, any ancestor, process, orchestrator: seen before or never; siblings go on."""
    kind, identifier, apart = NAMED[named]
    world = house.world
    token = world.mint(jti="grant-x")
    if seen == "seen":
        assert house.reason(token) is None
    with house.permit(token, PING) as running:
        assert not running.revoked
        house.revoke(kind, identifier)
        assert running.revoked
        assert house.reason(token) is Reason.BRANCH_REVOKED
        assert house.reason(token, -1) is Reason.BRANCH_REVOKED
        assert house.reason(sibling_token(world, apart)) is None


@given(
    st.sets(
        st.tuples(
            st.sampled_from(["", CREW, "finance", "articl"]),
            st.text("ea", min_size=1, max_size=3),
        ),
        max_size=12,
    ),
    st.text("ea", min_size=1, max_size=3),
)
def test_exactly_the_runs_of_a_subject_end(revoked: set[tuple[str, str]], subject: str) -> None:
    """Whatever else is revoked: other subjects, of a similar name, in similar crews."""
    house = Gatehouse(WORLD)
    for crew, name in revoked:
        house.revoke(EntityKind.SUBJECT, name.encode(), crew=crew)
    is_over = bool(revoked & {(CREW, subject), ("", subject)})
    assert (house.reason(WORLD.mint(sub=subject)) is Reason.BRANCH_REVOKED) is is_over


def test_a_subject_is_revoked_in_one_crew_or_in_all(house: Gatehouse) -> None:
    """A revocation in another crew is none here; one in all crews ends later tokens as well."""
    token = house.world.mint()
    house.revoke(EntityKind.SUBJECT, b"user_414", crew="finance")
    house.revoke(EntityKind.SUBJECT, b"user_41", crew="")
    assert house.reason(token) is None
    house.revoke(EntityKind.SUBJECT, b"user_414", crew="")
    assert house.reason(token) is Reason.BRANCH_REVOKED
    later = house.world.now + 4
    assert house.reason(house.world.mint(iat=later, exp=later + 60)) is Reason.BRANCH_REVOKED
    assert house.reason(house.world.mint(sub="user_4144")) is None


@pytest.mark.parametrize("kind", [EntityKind.CREW, EntityKind.KEY])
def test_revoking_a_crew_or_a_key_ends_all_that_hangs_on_it(kind: EntityKind) -> None:
    """And nothing of another crew."""
    house = Gatehouse(World.make(crews=(CREW, "finance")))
    house.revoke(kind, b"" if kind is EntityKind.CREW else KID.encode())
    assert house.reason(house.world.token) is Reason.BRANCH_REVOKED
    assert house.reason(house.world.mint(execution_branch_id=SIBLING)) is Reason.BRANCH_REVOKED
    assert house.reason(house.world.mint("finance")) is None


@pytest.mark.parametrize(
    "kind", [EntityKind.PROCESS, EntityKind.ORCHESTRATOR, EntityKind.CREW, EntityKind.BRANCH]
)
def test_a_revocation_may_mean_tokens_issued_up_to_a_moment(
    house: Gatehouse, kind: EntityKind
) -> None:
    """Issued at T is dead, issued a second later lives: seen or not, cached or not."""
    world = house.world
    names = {
        EntityKind.PROCESS: b"pid_7729",
        EntityKind.ORCHESTRATOR: b"article/article-1",
        EntityKind.CREW: b"",
        EntityKind.BRANCH: uuid_bytes(BRANCH),
    }
    before, at, after = (
        world.mint(iat=world.now + second, exp=world.now + 900) for second in (0, 1, 2)
    )
    for token in (before, at, after):
        house.permit(token, PING).settle()
    house.revoke(kind, names[kind], before=world.now + 1)
    assert house.reason(before) is Reason.BRANCH_REVOKED
    assert house.reason(at) is Reason.BRANCH_REVOKED
    assert house.reason(after) is None
    house.revoke(kind, names[kind], before=world.now + 2)  # the table has the key already
    assert house.reason(after) is Reason.BRANCH_REVOKED


def test_a_refreshed_token_of_a_dead_branch_is_dead(house: Gatehouse) -> None:
    """There is no un-revoke: a branch's death holds for grants that are issued later."""
    world = house.world
    house.revoke(EntityKind.BRANCH, uuid_bytes(BRANCH))
    assert house.reason(world.mint(iat=world.now + 5)) is Reason.BRANCH_REVOKED


def test_the_evidence_of_a_revoked_call_names_its_branch(house: Gatehouse) -> None:
    """After a good signature the refusal is attributable."""
    house.revoke(EntityKind.BRANCH, uuid_bytes(ROOT))
    denial = house.denial(house.world.token)
    assert denial.grant is not None
    assert (denial.grant.branch, denial.retry) == (BRANCH, False)


def test_a_branch_that_was_closed_stays_dead_without_its_revocation(house: Gatehouse) -> None:
    """The fast table's entry may expire; the death does not."""
    token = house.world.token
    house.permit(token).settle()
    house.lessor.close(ids.branch_key(CREW, BRANCH))
    assert house.reason(token) is Reason.BRANCH_REVOKED


def test_a_revoked_branch_s_call_in_flight_can_still_be_settled(house: Gatehouse) -> None:
    """The kill ends the call, not the accounts: what it cost is charged."""
    permit = house.permit(house.world.token)
    house.revoke(EntityKind.BRANCH, uuid_bytes(BRANCH))
    house.lessor.close(ids.branch_key(CREW, BRANCH))
    permit.settle(4)
    record = house.record()
    assert (record.settled, record.reserved, record.burned) == (4, 0, 0)


def test_strangers_that_are_revoked_leave_the_branch_alone() -> None:
    """Lookups are by 16-byte keys of what the token names; nothing else matters."""
    house = Gatehouse(World.make())
    token = house.world.token
    house.permit(token, PING).settle()
    for number in range(48):
        house.revoke(EntityKind.BRANCH, number.to_bytes(16, "big"))
        assert house.reason(token) is None


def test_another_process_finds_each_revocation_once_it_is_acknowledged(tmp_path: Path) -> None:
    """A gate asks for tokens without pause while the agent revokes one after the other."""
    world = World.make()
    tokens = [world.mint(jti=f"grant-{number}") for number in range(100)]
    table = OwnedTable.create(str(tmp_path / "table"), TableCapacities(64, 256, 64, 4))
    table.set_policy_generation(world.policy.generation)
    table.extend_freshness(2**62, 2**62)
    counts = mmap.mmap(-1, 2)  # of revocations: acknowledged by the agent, seen by the gate
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if each_is_found(tmp_path / "table", world, tokens, counts) else 1)
        finally:
            os._exit(2)
    now, ended = world.now, (0, 0)
    for number in range(len(tokens)):
        key = ids.table_key(EntityKind.GRANT, CREW, f"grant-{number}".encode())
        assert table.revoke(key, ids.crew_key(CREW), now + 60, 86_400, now, BOOT_NS)
        counts[0] = number + 1
        while counts[1] < number and ended == (0, 0):
            os.sched_yield()
            ended = os.waitpid(child, os.WNOHANG)
    status = os.waitpid(child, 0)[1] if ended == (0, 0) else ended[1]
    table.close()
    assert os.waitstatus_to_exitcode(status) == 0


def each_is_found(file: Path, world: World, tokens: list[bytes], counts: mmap.mmap) -> bool:
    """Ask for the tokens that are revoked last and next, until all are; False if one is missed."""
    descriptor = os.open(file, os.O_RDWR)
    gate = Gate(Table.attach(descriptor), 0, holds=False)
    gate.load(world.policy)
    gate.clock = (world.now * 10**9, BOOT_NS)
    while counts[1] < len(tokens):
        acknowledged = counts[0]
        for number in range(max(0, acknowledged - 2), min(acknowledged + 2, len(tokens))):
            verdict = gate.decide(tokens[number], PING)
            assert isinstance(verdict, Denial)  # the table has no branch
            if number < acknowledged and verdict.reason is not Reason.BRANCH_REVOKED:
                return False
        counts[1] = acknowledged
    return True
