"""Revocations: whose branch is meant, within a crew's share, over restarts."""

from pathlib import Path

import msgspec
import pytest
from grant_builders import branch_id, grant, key
from revocation_targets import branch, certificate, orchestrator, revoke_one, signing_key

from crewgate import limits
from crewgate._native.records import TableCapacities
from crewgate._native.table_owner import OwnedTable
from crewgate.agent.branch_registry import BranchRegistry
from crewgate.agent.journal_file import JournalFile
from crewgate.agent.revocation import types
from crewgate.agent.revocation.revocation_store import RevocationStore
from crewgate.agent.revocation.types import ClockReading
from crewgate.core.cross_crew_accounts import ISSUER, run_branch
from crewgate.core.ids import EntityKind, branch_key, certificate_key, crew_key, table_key
from crewgate.core.policy.policy import CrewPolicy, VerificationKey
from crewgate.core.revocation_kinds import RevocationTarget
from crewgate.core.x509.identity_extension import Identity, Role
from crewgate.errors import ServiceRefusedError

NOW = ClockReading(wall=1_800_000_000, boot_ns=10**12)
ARTICLE = CrewPolicy("article", "https://orchestrator.example")
FINANCE = CrewPolicy("finance", "https://finance.example")
CREWS = (ARTICLE, FINANCE)


def test_a_seen_branch_is_dead_for_good(
    revocations: RevocationStore, registry: BranchRegistry, table: OwnedTable
) -> None:
    """Its crew need not be named, and no later grant of it lives."""
    registry.learn(grant(1, 500))
    done = revoke_one(revocations, branch(branch_id(1)), CREWS, NOW)
    assert (done.target.crew, done.wanted.key, done.coarse) == ("article", key(1).hex(), None)
    assert table.is_revoked(key(1), NOW.wall + limits.revocation_seconds)
    assert not table.is_revoked(key(1, "finance"), NOW.wall)


def test_an_unseen_branch_needs_its_crew(revocations: RevocationStore, table: OwnedTable) -> None:
    """Nobody guesses; with the crew named it is revoked before it is ever seen."""
    with pytest.raises(ServiceRefusedError, match=r"--crew article\|finance"):
        revoke_one(revocations, branch(branch_id(1)), CREWS, NOW)
    revoke_one(revocations, branch(branch_id(1), "finance"), CREWS, NOW)
    assert table.is_revoked(key(1, "finance"), NOW.wall)
    assert not table.is_revoked(key(1), NOW.wall)


def test_a_run_across_the_boundary_is_found_by_account_and_by_crew(
    revocations: RevocationStore, registry: BranchRegistry, table: OwnedTable
) -> None:
    """The audit names the crew that called, the tree its account: both end the same branch."""
    crews = (*CREWS, CrewPolicy("article:finance", ISSUER), CrewPolicy("finance:article", ISSUER))
    registry.learn(grant(1, 500, crew="article:finance"))
    for crew in ("", "article", "article:finance"):
        assert registry.whose(branch_id(1), crew, crews) == "article:finance"
    assert registry.whose(branch_id(1), "finance", crews) == "finance"  # not its branch
    registry.learn(grant(1, 500))
    assert registry.whose(branch_id(1), "article", crews) == "article"
    done = revoke_one(revocations, branch(branch_id(1), "article:finance"), crews, NOW)
    assert table.is_revoked(bytes.fromhex(done.wanted.key), NOW.wall)
    assert not table.is_revoked(key(1), NOW.wall)


def test_a_run_across_the_boundary_that_nobody_remembers_ends_by_its_crew(
    revocations: RevocationStore, table: OwnedTable
) -> None:
    """On each account of the crew; an id that was not derived is none of theirs."""
    accounts = "article:finance", "article:hr", "finance:article"
    crews = (*CREWS, *(CrewPolicy(account, ISSUER) for account in accounts))
    run = run_branch("article:finance", Identity(Role.ORCHESTRATOR, "one", bytes(16), "article"))
    revocations.load(crews)
    done = revocations.revoke([branch(run, "article")], NOW)
    assert [(each.target.crew, each.is_requested) for each in done] == [
        ("article", True), ("article:finance", False), ("article:hr", False),
    ]  # fmt: skip
    for account in ("article", *accounts):
        is_revoked = table.is_revoked(branch_key(account, run), NOW.wall)
        assert is_revoked is (account != "finance:article")
    for other in (branch(branch_id(1), "article"), branch(run, "article:finance")):
        assert len(revocations.revoke([other], NOW)) == 1


def test_an_id_that_two_crews_use_is_refused_with_the_list(
    revocations: RevocationStore, registry: BranchRegistry, table: OwnedTable
) -> None:
    """A crew that copies another's branch id cannot have it revoked by mistake."""
    registry.learn(grant(1, 500))
    registry.learn(grant(1, 500, crew="finance"))
    with pytest.raises(ServiceRefusedError, match=r"--crew article\|finance"):
        revoke_one(revocations, branch(branch_id(1)), CREWS, NOW)
    revoke_one(revocations, branch(branch_id(1), "article"), CREWS, NOW)
    assert table.is_revoked(key(1), NOW.wall)
    assert not table.is_revoked(key(1, "finance"), NOW.wall)


@pytest.mark.parametrize(
    ("name", "crew", "says"),
    [
        ("nonsense", "article", "not a branch id"),
        (branch_id(1).upper().replace("0", "A"), "article", "not a branch id"),
        ("00000000-0000-0000-0000-000000000000", "article", "not a branch id"),
        (branch_id(1), "nobody", "configured are: article, finance"),
    ],
)
def test_bad_requests_are_refused_and_change_nothing(
    revocations: RevocationStore, table: OwnedTable, name: str, crew: str, says: str
) -> None:
    """The refusal says what is wrong; no key is entered."""
    before = table.revocation_generation
    with pytest.raises(ServiceRefusedError, match=says):
        revoke_one(revocations, branch(name, crew), CREWS, NOW)
    assert table.revocation_generation == before
    assert len(revocations) == 0


def test_over_its_share_a_crew_is_coarsened_and_others_are_not(
    revocations: RevocationStore, table: OwnedTable
) -> None:
    """The next one kills all tokens of that crew issued before now; another crew's go on."""
    crews = (CrewPolicy("article", "https://o.example", live_revocations_max=2), FINANCE)
    for number in range(2):
        assert (
            revoke_one(revocations, branch(branch_id(number), "article"), crews, NOW).coarse is None
        )
    done = revoke_one(revocations, branch(branch_id(2), "article"), crews, NOW)
    assert done.coarse is not None
    assert done.coarse.key == crew_key("article").hex()
    assert table.is_revoked(crew_key("article"), NOW.wall)
    assert not table.is_revoked(crew_key("article"), NOW.wall + limits.leeway_seconds + 1)
    assert not table.is_revoked(crew_key("finance"), NOW.wall)
    # What it had revoked already can be revoked again without harm.
    assert revoke_one(revocations, branch(branch_id(0), "article"), crews, NOW).coarse is None


def test_what_nobody_asked_for_ends_no_crew_and_leaves_room(
    revocations: RevocationStore, table: OwnedTable
) -> None:
    """Half of the crew's share; beyond it nothing is entered, and a person finds the rest."""
    for number in range(16):
        done = revoke_one(
            revocations, branch(branch_id(number), "article"), CREWS, NOW, coarsens=False
        )
        assert done.ended == ("branch", branch_id(number))
    before = table.revocation_generation
    with pytest.raises(
        ServiceRefusedError, match="the share of crew article in the table of revocations is full"
    ):
        revoke_one(revocations, branch(branch_id(16), "article"), CREWS, NOW, coarsens=False)
    assert table.revocation_generation == before
    for number in range(12):
        assert (
            revoke_one(revocations, branch(branch_id(200 + number), "article"), CREWS, NOW).coarse
            is None
        )
    done = revoke_one(revocations, branch(branch_id(300), "article"), CREWS, NOW)
    assert done.ended == ("crew", "article")
    # What is revoked already may be found out again.
    revoke_one(revocations, branch(branch_id(0), "article"), CREWS, NOW, coarsens=False)


def test_no_crew_has_more_than_half_and_each_keeps_a_place(
    revocations: RevocationStore, table: OwnedTable
) -> None:
    """64 places: 28 for the first crew, then one coarse entry; the second has its own still."""
    fine = [
        revoke_one(revocations, branch(branch_id(number), crew), CREWS, NOW).coarse is not None
        for crew in ("article", "finance")
        for number in range(100)
    ]
    assert fine.index(True) == 28
    assert table.revocations_of(crew_key("article")) == 29
    assert 24 <= table.revocations_of(crew_key("finance")) <= 28
    assert table.is_revoked(crew_key("finance"), NOW.wall)


def test_a_new_table_gets_them_again(
    revocations: RevocationStore,
    journal: JournalFile[types.StoredRevocation],
    registry: BranchRegistry,
    tmp_path: Path,
) -> None:
    """After a reboot the table is new, and what was revoked stays so for the rest of its day."""
    revoke_one(revocations, branch(branch_id(1), "article"), CREWS, NOW)
    hours = 20
    later = ClockReading(wall=NOW.wall + hours * 3600, boot_ns=1)
    table = OwnedTable.private(TableCapacities(256, 64, 128, 8))
    again = RevocationStore(table, journal, registry)
    assert again.restore(journal.read(), later) == 0
    assert table.is_revoked(key(1), later.wall)
    table.close()


def test_a_coarsened_crew_is_shown_after_a_restart(
    revocations: RevocationStore,
    journal: JournalFile[types.StoredRevocation],
    registry: BranchRegistry,
    log_lines: list[str],
) -> None:
    """With its time, and without a word: the agent before has said it. A crew's own end is none."""
    for number in range(200):
        if revoke_one(revocations, branch(branch_id(number), "article"), CREWS, NOW).coarse:
            break
    revoke_one(revocations, RevocationTarget(EntityKind.CREW, "finance"), CREWS, NOW)
    log_lines.clear()
    table = OwnedTable.private(TableCapacities(256, 64, 128, 8))
    again = RevocationStore(table, journal, registry)
    later = ClockReading(wall=NOW.wall + 60, boot_ns=1)
    again.restore(journal.read(), later)
    (row,) = again.coarsened.rows()
    assert (row.crew, row.at, log_lines) == ("article", NOW.wall, [])
    again.tidy(ClockReading(NOW.wall + limits.revocation_seconds + 1, 1))
    assert again.coarsened.rows() == []
    table.close()


@pytest.mark.parametrize(("hours", "kept"), [(24, True), (25, True), (26, True), (27, False)])
def test_forgetting_distrusts_the_wall_clock(
    revocations: RevocationStore, hours: int, kept: bool
) -> None:
    """An entry outlives its day by what a wall clock may be wrong."""
    revoke_one(revocations, branch(branch_id(1), "article"), CREWS, NOW)
    revocations.tidy(ClockReading(wall=NOW.wall + hours * 3600, boot_ns=0))
    assert (len(revocations) == 1) is kept


KEY = VerificationKey("article-1", "article", bytes(32))
OTHER = VerificationKey("article-2", "article", bytes(32))


def test_a_revoked_key_that_is_still_trusted_stays_revoked(
    revocations: RevocationStore, table: OwnedTable, journal: JournalFile[types.StoredRevocation]
) -> None:
    """For weeks: what it signs has no end. One that has left the JWKS is forgotten."""
    revoke_one(revocations, signing_key(KEY.kid, "article"), CREWS, NOW)
    dead, hour, renewed = table_key(EntityKind.KEY, "article", KEY.kid.encode()), 3600, 0
    now = NOW
    for hours in range(24 * 14):
        now = ClockReading(NOW.wall + hours * hour, NOW.boot_ns + hours * hour * 10**9)
        renewed += len(revocations.keep([KEY, OTHER], now))
        assert revocations.keep([KEY, OTHER], now) == []  # not twice in a minute
        revocations.tidy(now)
        assert table.is_revoked(dead, now.wall)
        assert len(revocations) == 1
    assert 26 <= renewed <= 29
    assert [entry.key for entry in journal.read()][-1] == dead.hex()
    for hours in range(48):
        later = ClockReading(now.wall + hours * hour, now.boot_ns + hours * hour * 10**9)
        assert revocations.keep([OTHER], later) == []
        revocations.tidy(later)
    assert len(revocations) == 0


def test_a_key_that_another_machine_revoked_is_kept_here_too(
    revocations: RevocationStore, table: OwnedTable
) -> None:
    """Its word is in the table alone, and the others would forget it as well."""
    dead = table_key(EntityKind.KEY, "article", KEY.kid.encode())
    life = limits.revocation_seconds
    table.revoke(dead, crew_key("article"), limits.time_seconds_max, life, NOW.wall, NOW.boot_ns)
    assert revocations.keep([OTHER, KEY], NOW) == [KEY]
    assert [entry.key for entry in revocations] == [dead.hex()]


def test_a_table_without_room_is_said_not_hidden(
    revocations: RevocationStore,
    journal: JournalFile[types.StoredRevocation],
    registry: BranchRegistry,
) -> None:
    """A smaller new table: the number of revocations that found no place is returned."""
    for number in range(20):
        revoke_one(revocations, branch(branch_id(number), "article"), CREWS, NOW)
    small = OwnedTable.private(TableCapacities(64, 64, 64, 2))
    for number in range(50):
        small.revoke(key(1000 + number), crew_key("finance"), 1, 86_400, NOW.wall, NOW.boot_ns)
    again = RevocationStore(small, journal, registry)
    assert again.restore(journal.read(), NOW) == 6
    small.close()


def test_an_orchestrator_is_dead_up_to_a_moment(
    revocations: RevocationStore, table: OwnedTable
) -> None:
    """What it minted until then, seen or not; of later ones nothing, and never beyond now."""
    dead = table_key(EntityKind.ORCHESTRATOR, "article", b"article/bd-1")
    then = NOW.wall - 1000
    name = orchestrator("article/bd-1", "article", before=then)
    done = revoke_one(revocations, name, CREWS, NOW)
    assert (bytes.fromhex(done.wanted.key), done.is_listed) == (dead, True)
    assert table.is_revoked(dead, then + limits.leeway_seconds)
    assert not table.is_revoked(dead, then + limits.leeway_seconds + 1)
    later = msgspec.structs.replace(name, before=NOW.wall + 1000)
    revoke_one(revocations, later, CREWS, NOW)
    assert table.is_revoked(dead, NOW.wall + limits.leeway_seconds)
    assert not table.is_revoked(dead, NOW.wall + limits.leeway_seconds + 1)
    revoke_one(revocations, name, CREWS, NOW)
    assert table.is_revoked(dead, NOW.wall + limits.leeway_seconds)


def test_a_key_is_dead_whenever_it_signed(revocations: RevocationStore, table: OwnedTable) -> None:
    """Its holder may date a token as it likes; another crew's key of that name lives."""
    dead = table_key(EntityKind.KEY, "article", b"key-1")
    done = revoke_one(revocations, signing_key("key-1", "article"), CREWS, NOW)
    assert (bytes.fromhex(done.wanted.key), done.is_listed) == (dead, True)
    assert table.is_revoked(dead, limits.time_seconds_max - 1)
    assert not table.is_revoked(table_key(EntityKind.KEY, "finance", b"key-1"), 0)


def test_crossings_are_no_second_share(
    table: OwnedTable, journal: JournalFile[types.StoredRevocation], registry: BranchRegistry
) -> None:
    """Branches of a crew and of all its accounts have half of the table between them."""
    small = OwnedTable.private(TableCapacities(64, 64, 64, 8))
    crews = (*CREWS, CrewPolicy("article:finance", ISSUER), CrewPolicy("article:hr", ISSUER))
    found = RevocationStore(small, journal, registry)
    names = ("article", "article:finance", "article:hr")
    for number in range(90):
        revoke_one(found, branch(branch_id(number), names[number % 3]), crews, NOW)
    held = sum(small.revocations_of(crew_key(name)) for name in names)
    assert held <= 32 + len(names)  # and the coarse entry of each
    assert revoke_one(found, branch(branch_id(1), "finance"), crews, NOW).coarse is None
    small.close()


def test_made_up_branches_leave_a_place_for_certificates(
    revocations: RevocationStore, table: OwnedTable
) -> None:
    """Whoever is about to lose one cannot keep it out of the table, not even with another crew."""
    for crew in ("article", "finance"):
        for number in range(100):
            revoke_one(revocations, branch(branch_id(number), crew), CREWS, NOW)
    targets = [certificate(10, crew) for crew in ("article", "finance")]
    assert all(each.is_listed for each in revocations.revoke(targets, NOW))
    for crew in ("article", "finance"):
        assert table.is_revoked(certificate_key(crew, 10), NOW.wall)


def test_a_later_word_about_an_earlier_moment_takes_nothing_back(
    revocations: RevocationStore, table: OwnedTable, journal: JournalFile[types.StoredRevocation],
    registry: BranchRegistry,
) -> None:  # fmt: skip
    """Also in a table that is made anew from what was kept."""
    name = orchestrator("article/a-1", "article")
    revoke_one(revocations, name, CREWS, NOW)
    earlier = msgspec.structs.replace(name, before=NOW.wall - 900)
    revoke_one(revocations, earlier, CREWS, NOW)
    journal.rewrite(revocations)
    with_new = OwnedTable.private(TableCapacities(64, 64, 64, 8))
    RevocationStore(with_new, journal, registry).restore(journal.read(), NOW)
    key_of = table_key(EntityKind.ORCHESTRATOR, "article", b"article/a-1")
    assert table.is_revoked(key_of, NOW.wall)
    assert with_new.is_revoked(key_of, NOW.wall)
    with_new.close()
